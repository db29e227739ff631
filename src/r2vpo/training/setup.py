"""Build the parts of a run from its recipe, and find problems with its input before work starts."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from transformers.integrations import get_available_reporting_integrations
from trl.import_utils import is_vllm_available
from trl.trainer.utils import get_callable_name

from r2vpo.config.recipe import Recipe
from r2vpo.config.reward import RewardRecipe
from r2vpo.data import PromptData, load_data
from r2vpo.data.options import DatasetOptions, PreferencesOptions
from r2vpo.data.pair_boundaries import boundary_note
from r2vpo.data.pair_lengths import without_long_pairs
from r2vpo.data.prompt_format import PromptForm, as_chats, choose_form
from r2vpo.data.prompt_tokens import AS_TEXTS, check_chats, without_long_prompts
from r2vpo.environment import WORLD_SIZE
from r2vpo.errors import UserError
from r2vpo.models import load_ends, load_model, load_tokenizer
from r2vpo.models.fingerprint import tokenizer_fingerprint
from r2vpo.models.fit import stop_ids
from r2vpo.optional import PACKAGES, remedy, require_store
from r2vpo.positions import position_limit
from r2vpo.precision import computes_on_cpu
from r2vpo.rewards import REWARDS, check_reward, load_reward, usable_rows
from r2vpo.rewards.check import ROWS
from r2vpo.rewards.identity import reward_version
from r2vpo.training.adapters import check_adapters, peft_config
from r2vpo.training.optimizers import OPTIMIZERS, check_optimizer
from r2vpo.training.recipe_model import check_recipe_model
from r2vpo.trl import R2VPOConfig


@dataclass
class Parts:
    """The parts of a run.

    `reward` decides what is solved, `more_rewards` are the other parts of the sum. `form` says how the model is given
    the prompts of a data set; it is None for other sources, whose prompts are used as they are made.
    """

    data: PromptData
    reward: Callable[..., Any]
    tokenizer: Any
    model: Any
    peft_config: Any
    more_rewards: Sequence[Callable[..., Any]] = ()
    form: PromptForm | None = None


def prepare(recipe: Recipe, *, loading: Callable[[str], None] = lambda what: None) -> Parts:
    """Load and check data, reward, tokenizer and model.

    Args:
        recipe: the recipe.
        loading: called with what is loaded next.

    Returns:
        The parts.

    Raises:
        UserError: a part is missing or does not fit the others.
    """
    if recipe.trainer.threads is not None:
        torch.set_num_threads(recipe.trainer.threads)
    _check_installed(recipe)
    check_optimizer(recipe)
    loading("loading the data")
    data = load_data(recipe.data, seed=recipe.seed)
    _check_enough(recipe, data)
    loading(f"loading {recipe.model.name}")
    trusted = recipe.model.trust_remote_code
    tokenizer = load_tokenizer(recipe.model.name, seed=recipe.model_seed, trust_remote_code=trusted)
    form = _form(recipe, data, tokenizer)
    if form is not None and form.is_chat:
        data = replace(data, train=as_chats(data.train), held_out=as_chats(data.held_out))
    reward, *more_rewards = reward_functions(recipe.reward)
    for function in (reward, *more_rewards):
        data = _with_usable_answers(function, data)
        check_reward(function, (data.held_out if recipe.is_offline else data.train)[:ROWS])
    _check_enough(recipe, data)
    check_chats(
        [row.prompt for row in (*data.train, *data.held_out)],
        tokenizer,
        key="data",
        remedy=AS_TEXTS,
    )
    if isinstance(recipe.data, DatasetOptions) and recipe.data.max_prompt_tokens is not None:
        data = without_long_prompts(data, tokenizer, recipe.data.max_prompt_tokens)
        _check_enough(recipe, data)
    if recipe.replay.store is not None:
        _check_store(recipe, [reward, *more_rewards], tokenizer)
    model = load_model(recipe.model.name, seed=recipe.model_seed, trust_remote_code=trusted)
    model.generation_config.eos_token_id = stop_ids(
        tokenizer, recipe.rollout.stop, model, chats=form is not None and form.format == "chat"
    )
    if recipe.is_offline:
        most = recipe.data.max_response_tokens if isinstance(recipe.data, PreferencesOptions) else None
        data = without_long_pairs(data, tokenizer, most_response=most, limit=position_limit(model))
        _check_enough(recipe, data)
        note = boundary_note(data.train, tokenizer)
        data = data if note is None else replace(data, notes=(*data.notes, note))
    check_recipe_model(recipe, model, tokenizer, data)
    check_adapters(recipe, model)
    return Parts(data, reward, tokenizer, model, peft_config(recipe), more_rewards, form)


def _form(recipe: Recipe, data: PromptData, tokenizer: Any) -> PromptForm | None:
    """Choose the form in which the model is given a data set's prompts; None for prompts that are made."""
    if not isinstance(recipe.data, DatasetOptions):
        return None
    ends: list[int] = []
    if recipe.data.format != "chat" and getattr(tokenizer, "chat_template", None):
        trusted = recipe.model.trust_remote_code
        ends = load_ends(recipe.model.name, tokenizer, seed=recipe.model_seed, trust_remote_code=trusted)
    form = choose_form(recipe.data.format, data.train, tokenizer, ends)
    if form.is_chat and recipe.data.format == "auto" and recipe.rollout.stop:
        return replace(form, note=f"{form.note}; rollout.stop still ends its answers")
    return form


def _check_enough(recipe: Recipe, data: PromptData) -> None:
    """Refuse fewer training problems, or pairs, than a round needs, or no held-out problems."""
    if not data.held_out:
        raise UserError("data.held_out_size: there are no held-out problems to evaluate on: set it to 1 or more")
    prompts = recipe.rollout.prompts_per_round
    if len(data.train) < prompts:
        what = "pairs" if data.has_pairs else "problems"
        left_out = f" ({data.described_left_out()})" if data.left_out else ""
        raise UserError(
            f"data: {len(data.train)} training {what} are fewer than rollout.prompts_per_round = {prompts}: add "
            f"{what}, or set rollout.prompts_per_round to at most {len(data.train)}{left_out}"
        )


def _with_usable_answers(function: Callable[..., Any], data: PromptData) -> PromptData:
    """Leave out problems whose answer a reward cannot use; they would stop the run later or train towards 0."""
    train, train_note = data.train, None
    if any(row.pair is None for row in data.train):
        train, train_note = usable_rows(function, data.train, "training problems")
    held_out, held_out_note = usable_rows(function, data.held_out, "held-out problems")
    count = len(data.train) + len(data.held_out) - len(train) - len(held_out)
    if not count:
        return data
    left_out = Counter(data.left_out) + Counter({"with an answer that the reward cannot use": count})
    notes = (*data.notes, *(note for note in (train_note, held_out_note) if note is not None))
    return replace(data, train=train, held_out=held_out, left_out=dict(left_out), notes=notes)


def _check_store(recipe: Recipe, functions: Sequence[Callable[..., Any]], tokenizer: Any) -> None:
    """Refuse a store that cannot be used before there is a run folder."""
    require_store()
    from r2vpo.trl.stored_options import open_checked

    version = reward_version(functions, *names_and_weights(recipe.reward, functions))
    open_checked(recipe.replay, tokenizer=tokenizer_fingerprint(tokenizer), reward_version=version).close()


def names_and_weights(reward: RewardRecipe, functions: Sequence[Callable[..., Any]]) -> tuple[list[str], list[float]]:
    """Return the names that the trainer gives the functions of a reward, and the weights of its parts."""
    return [get_callable_name(function) for function in functions], [part.weight for part in reward.all_parts()]


def reward_functions(reward: RewardRecipe) -> list[Callable[..., Any]]:
    """Return the functions of all parts, each with a unique name for the log: format, format_2."""
    functions: list[Callable[..., Any]] = []
    names: list[str] = []
    for part in reward.all_parts():
        function = load_reward(part.options())
        name = getattr(function, "__name__", type(function).__name__)
        if names.count(name) and part.name not in REWARDS:
            raise UserError(
                f"reward.parts: two functions are called {name!r} and would share a name in the log: rename one of them"
            )
        functions.append(function)
        names.append(name)
        if names.count(name) > 1:
            function.__name__ = f"{name}_{names.count(name)}"
    return functions


def _check_installed(recipe: Recipe) -> None:
    """Refuse trackers and samplers whose packages are missing; the trainer would notice only during the run."""
    missing = [name for name in recipe.report_to if name not in get_available_reporting_integrations()]
    if missing:
        how = remedy(missing[0]) if missing[0] in PACKAGES else "install its package with pip"
        raise UserError(f"report_to: {missing[0]} is not installed: {how}, or take it out of report_to")
    if recipe.rollout.sampler == "vllm" and not is_vllm_available():
        raise UserError(
            f"rollout.sampler = vllm, but vLLM is not installed: {remedy('vllm')}, or set rollout.sampler=shared_prefix"
        )


def trainer_config(recipe: Recipe, checkpoints: Path) -> R2VPOConfig:
    """Translate the recipe into a configuration for TRL.

    Args:
        recipe: the recipe.
        checkpoints: folder of the checkpoints.

    Returns:
        The configuration.

    Raises:
        UserError: TRL or the trainer refuses a value, or a step does not divide over the processes.
    """
    trainer, rollout = recipe.trainer, recipe.rollout
    with refused_by_trl():
        return R2VPOConfig(
            **common_arguments(recipe, checkpoints),
            generation_batch_size=recipe.rows_per_round,
            num_iterations=trainer.passes,
            num_generations=rollout.samples_per_prompt,
            max_completion_length=rollout.max_new_tokens,
            temperature=rollout.temperature,
            **_vllm(recipe),
            rollout=rollout.options(),
            skip_zero_advantage=trainer.skip_zero_advantage,
            router_aux_loss_coef=trainer.router_aux_loss_coef,
            reward_weights=[part.weight for part in recipe.reward.all_parts()],
            objective=recipe.objective,
            replay=recipe.replay,
            advantage=recipe.advantage,
            critic=recipe.critic,
            curriculum=recipe.curriculum,
        )


def common_arguments(recipe: Recipe, checkpoints: Path) -> dict[str, Any]:
    """Return the arguments that the configurations of both trainers have: `R2VPOConfig` and `R2VPODPOConfig`.

    Args:
        recipe: the recipe.
        checkpoints: folder of the checkpoints.

    Raises:
        UserError: a step does not divide over the processes, or there is no such device.
    """
    trainer = recipe.trainer
    rows = recipe.divided_over(processes())
    if trainer.device == "cuda" and not torch.cuda.is_available():
        raise UserError("trainer.device = cuda, but torch sees no CUDA device: set trainer.device=auto or cpu")
    return dict(
        output_dir=str(checkpoints),
        seed=recipe.seed,
        use_cpu=computes_on_cpu(trainer.device),
        bf16=None if trainer.bf16_autocast == "auto" else trainer.bf16_autocast,
        gradient_checkpointing=trainer.gradient_checkpointing,
        optim=OPTIMIZERS[trainer.optimizer],
        learning_rate=trainer.learning_rate,
        max_steps=trainer.max_steps,
        warmup_steps=trainer.warmup_steps,
        lr_scheduler_type=trainer.lr_scheduler,
        weight_decay=trainer.weight_decay,
        max_grad_norm=trainer.max_grad_norm,
        per_device_train_batch_size=rows,
        gradient_accumulation_steps=trainer.micro_batches,
        save_strategy="steps",
        save_steps=trainer.save_steps,
        save_total_limit=trainer.keep_checkpoints,
        logging_steps=1,
        logging_strategy="steps",
        report_to=list(recipe.report_to),
        disable_tqdm=True,
        dual=recipe.dual,
        step_control=recipe.step_control,
    )


@contextmanager
def refused_by_trl() -> Iterator[None]:
    """Context manager in which a value that TRL or a trainer's configuration refuses is one line about the recipe."""
    try:
        yield
    except UserError:
        raise
    except ValueError as error:
        raise UserError(f"recipe: {error}") from error


def processes() -> int:
    """Return the number of processes of the run.

    Raises:
        UserError: the launcher's variable holds something else.
    """
    text = os.environ.get(WORLD_SIZE.name, WORLD_SIZE.default)
    if not text.isdecimal() or not 1 <= int(text[:10]):
        raise UserError(f"{WORLD_SIZE.name}={text[:40]!r} in the environment is not a number of processes: unset it")
    return int(text[:10])


def _vllm(recipe: Recipe) -> dict[str, Any]:
    vllm = recipe.rollout.vllm
    if vllm is None:
        return {}
    return dict(
        vllm_mode=vllm.mode,
        vllm_tensor_parallel_size=vllm.tensor_parallel,
        vllm_gpu_memory_utilization=vllm.memory_share,
        vllm_server_host=vllm.host,
        vllm_server_port=vllm.port,
    )
