"""A recipe's plan: weights, memory, devices, work, and savings from reusing stale rollouts."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

from r2vpo.config.recipe import Recipe, settle_precision
from r2vpo.errors import UserError
from r2vpo.planning.architecture import Architecture, read_architecture
from r2vpo.planning.longest_prompt import prompt_tokens_of
from r2vpo.planning.memory import Moment, Settings, moments, peak, replay_bytes
from r2vpo.planning.shapes import Shapes, shapes_of
from r2vpo.planning.sharding import STRATEGIES, Sharding, Strategy
from r2vpo.planning.work import Speed, Work, work_of
from r2vpo.precision import computes_on_cpu, multiplies_bfloat16

USABLE = 0.9
"""Share of a device's memory that a plan uses; the rest is for the driver, buffers and fragmentation."""
MOST_DEVICES = 4096


@dataclass(frozen=True)
class Options:
    """Options of a plan; None is taken from the recipe or determined.

    Attributes:
        device_memory: bytes of memory per device.
        devices: number of devices; None means the fewest that hold the run.
        prompt_tokens: longest prompt; None is measured or taken from the recipe.
        response_tokens: mean length of a response, for the work; None means the longest allowed.
        speed: speed of a device; None means `Speed()`, or no hours for a host.
    """

    device_memory: float = 80 * 2**30
    devices: int | None = None
    prompt_tokens: int | None = None
    response_tokens: float | None = None
    speed: Speed | None = None


@dataclass(frozen=True)
class Fit:
    """How a run fits with one strategy.

    Attributes:
        strategy: how weights and states are divided.
        possible: whether the recipe's sampler can sample from weights that are divided in this way.
        smallest: the smallest number of devices that hold the run and divide a round, or None.
        devices: the number of devices to which `moments` refers.
        moments: what each of them holds, by moment and part.
    """

    strategy: Strategy
    possible: bool
    smallest: int | None
    devices: int
    moments: dict[str, Moment]

    @property
    def peak(self) -> float:
        """Bytes of the largest moment."""
        return peak(self.moments)


@dataclass(frozen=True)
class Plan:
    """Everything that `r2vpo plan` prints; sizes are in bytes."""

    model: Architecture
    on_cpu: bool
    device_memory: float
    fits: list[Fit]
    chosen: Fit
    shapes: Shapes
    replay: float
    work: Work
    hours: dict[str, float]
    devices: int
    assumptions: list[str]
    notes: list[str]

    def to_json(self) -> dict[str, Any]:
        """Convert the plan to a JSON object."""
        plan = asdict(self)
        for entry, fit in zip([*plan["fits"], plan["chosen"]], [*self.fits, self.chosen], strict=True):
            entry["peak"] = fit.peak
        return plan


def make_plan(recipe: Recipe, options: Options) -> Plan:
    """Plan a recipe's run.

    Args:
        recipe: the recipe.
        options: devices, lengths and speed.

    Returns:
        The plan.

    Raises:
        UserError: the model cannot be planned, or a round cannot be divided among the requested devices.
    """
    if recipe.trainer.kind == "dpo":
        raise UserError(
            "trainer.kind = dpo cannot be planned yet; for weights, gradients and optimizer, plan a recipe of "
            "trainer.kind = r2vpo with the same model: the reference is another copy of the weights, unless there are "
            "adapters"
        )
    model = read_architecture(recipe)
    prompt, where = options.prompt_tokens, "--prompt-tokens"
    if prompt is None:
        prompt, where = prompt_tokens_of(recipe)
    on_cpu = computes_on_cpu(recipe.trainer.device)
    response = options.response_tokens or float(recipe.rollout.max_new_tokens)
    fast = multiplies_bfloat16(on_cpu=on_cpu)
    recipe = settle_precision(recipe, autocast=fast, dtype="bfloat16" if fast else "model")
    settings = settings_of(recipe, on_cpu=on_cpu, device_memory=options.device_memory)
    if options.devices is not None and recipe.micro_batch(options.devices) is None:
        raise UserError(
            f"--devices {options.devices}: a round of {recipe.rollout.prompts_per_round} prompts x "
            f"{recipe.rollout.samples_per_prompt} samples cannot be divided among them: give a divisor of "
            "rollout.prompts_per_round"
        )
    # A critic is not trained under launchers that shard the weights.
    strategies: list[Strategy] = ["replicated"] if on_cpu or recipe.critic.enabled else list(STRATEGIES)
    fits = [_fit(strategy, model, recipe, settings, options, prompt) for strategy in strategies]
    chosen = _choose(fits)
    work = work_of(model, recipe, prompt_tokens=prompt, response_tokens=response)
    shapes = shapes_of(recipe, processes=chosen.devices, prompt_tokens=prompt)
    # The speed of hosts differs too much for a guess.
    speed = options.speed or (None if on_cpu else Speed())
    return Plan(
        model=model,
        on_cpu=on_cpu,
        device_memory=options.device_memory,
        fits=fits,
        chosen=chosen,
        shapes=shapes,
        replay=replay_bytes(shapes),
        work=work,
        hours=work.hours(speed, chosen.devices) if speed is not None else {},
        devices=chosen.devices,
        assumptions=[
            f"prompts of {prompt} tokens ({where})",
            f"responses of {response:,.0f} tokens "
            + ("(--response-tokens)" if options.response_tokens else "(rollout.max_new_tokens: an upper bound)"),
            *([] if speed is None else [speed.described()]),
            *([] if on_cpu else [f"{USABLE:.0%} of a device's memory can be used"]),
        ],
        notes=_notes(model, recipe, prompt, chosen, on_cpu=on_cpu),
    )


def settings_of(recipe: Recipe, *, on_cpu: bool, device_memory: float) -> Settings:
    """Collect the recipe's settings that affect memory."""
    trainer, rollout = recipe.trainer, recipe.rollout
    half = rollout.dtype == "bfloat16"
    vllm_share = 0.0
    if rollout.sampler == "vllm":
        vllm_share = (
            0.3 if rollout.vllm is None else rollout.vllm.memory_share if rollout.vllm.mode == "colocate" else 0
        )
    return Settings(
        compute=2 if trainer.bf16_autocast else 4,
        sampler=2 if half and rollout.sampler == "shared_prefix" else 0,
        cache=2 if half and rollout.sampler == "shared_prefix" else 4,
        optimizer={"adamw": 8, "sgd": 0, "prodigy": 16}[trainer.optimizer],
        accumulates=trainer.micro_batches > 1,
        shares_prompts=not trainer.gradient_checkpointing,
        checkpointing=trainer.gradient_checkpointing,
        on_cpu=on_cpu,
        reserved=vllm_share * device_memory,
        critic=_separate(recipe),
    )


def _separate(recipe: Recipe) -> Literal["none", "copy", "other"]:
    if not recipe.critic.enabled or recipe.critic.model == "shared":
        return "none"
    return "copy" if recipe.critic.model == "copy" else "other"


def _fit(
    strategy: Strategy, model: Architecture, recipe: Recipe, settings: Settings, options: Options, prompt: int
) -> Fit:
    def held(devices: int) -> dict[str, Moment]:
        shapes = shapes_of(recipe, processes=devices, prompt_tokens=prompt)
        return moments(model, shapes, settings, Sharding(strategy, devices))

    # This package's sampler copies whole weights, of which a process has only a part if they are sharded.
    possible = strategy == "replicated" or recipe.rollout.sampler != "shared_prefix"
    usable = float("inf") if settings.on_cpu else USABLE * options.device_memory
    most = min(recipe.rollout.prompts_per_round, MOST_DEVICES)
    candidates = [number for number in range(1, most + 1) if recipe.micro_batch(number)]
    smallest = next((n for n in candidates if possible and peak(held(n)) <= usable), None)
    devices = options.devices or smallest or candidates[-1]
    return Fit(strategy, possible, smallest, devices, held(devices))


def _choose(fits: list[Fit]) -> Fit:
    """Choose the strategy with the fewest devices, simplest first; if none fits, the one that holds least."""
    fitting = [fit for fit in fits if fit.smallest is not None]
    if fitting:
        return min(fitting, key=lambda fit: fit.smallest or 0)
    return min((fit for fit in fits if fit.possible), key=lambda fit: fit.peak)


def _notes(model: Architecture, recipe: Recipe, prompt: int, chosen: Fit, *, on_cpu: bool) -> list[str]:
    notes = [model.note] if model.note else []
    if recipe.rollout.sampler == "shared_prefix" and not on_cpu:
        notes.append("sharded weights need rollout.sampler=vllm (or trl): shared_prefix copies whole weights")
    longest = prompt + recipe.rollout.max_new_tokens
    if longest > model.positions:
        notes.append(
            f"prompts and responses of {longest:,} tokens are longer than the {model.positions:,} positions of the "
            "model: lower rollout.max_new_tokens or data.max_prompt_tokens"
        )
    if _separate(recipe) == "other":
        notes.append(f"critic.model = {recipe.critic.model} is counted as large as the policy")
    if chosen.smallest is None:
        notes.append(
            "no number of devices that divides a round holds the run: raise trainer.micro_batches, set "
            "trainer.gradient_checkpointing, rollout.rows_per_batch, or rollout.sampler=vllm for sharded weights"
        )
    if recipe.rollout.sampler == "vllm" and recipe.rollout.vllm is not None and recipe.rollout.vllm.mode == "server":
        notes.append("the devices of the vLLM server are needed in addition to those counted here")
    return notes
