"""`R2VPOConfig`: TRL's `GRPOConfig` with the options of R²VPO, validated on construction."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

import torch
from trl import GRPOConfig

from r2vpo.core.critic.consistency import critic_problem
from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.declaration import Options
from r2vpo.core.method_options import MethodOptions, ObjectiveOptions
from r2vpo.core.options import AdvantageOptions, CurriculumOptions, DualOptions, RolloutOptions, StepControlOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.precision import multiplies_bfloat16
from r2vpo.trl.console import ignore_renamed_options
from r2vpo.trl.refusals import FORMER, REFUSED, REFUSED_OWN_SAMPLER, refuse, refuse_generation_kwargs

SECTIONS: dict[str, type[Options]] = {
    "objective": ObjectiveOptions,
    "dual": DualOptions,
    "step_control": StepControlOptions,
    "rollout": RolloutOptions,
    "replay": ReplayOptions,
    "advantage": AdvantageOptions,
    "critic": CriticOptions,
    "curriculum": CurriculumOptions,
}
"""The sections of `R2VPOConfig`, the same as those of a recipe."""


Value = TypeVar("Value")
OfSection = TypeVar("OfSection", bound=Options)

if TYPE_CHECKING:

    class Section(Generic[OfSection]):
        """An option that is set to a section, a mapping or one value, and is read as the section."""

        def __get__(self, config: object, owner: type | None = None) -> OfSection: ...

        def __set__(self, config: object, value: OfSection | Mapping[str, Any] | str | float | None) -> None: ...

    class Derived(Generic[Value]):
        """An option that may be left out; TRL or this config then derives it from the others on construction."""

        def __get__(self, config: object, owner: type | None = None) -> Value: ...

        def __set__(self, config: object, value: Value | None) -> None: ...
else:

    class Section:
        """Type of what a user writes, in terms of types that transformers' command-line parser supports."""

        def __class_getitem__(cls, options: type[Options]) -> Any:
            """Leave out the section's class, of which the parser would try to build one."""
            return dict[str, Any] | str | None


def section(name: str) -> Any:
    """Declare a section as a field of a config, with the section's own help text."""
    (first_line, *_) = (SECTIONS[name].__doc__ or "").splitlines()
    return field(default=None, metadata={"help": f"{first_line} As in a recipe; JSON on a command line."})


def read_sections(config: Any, sections: Mapping[str, type[Options]]) -> None:
    """Read the sections of a config in any form in which they are given; a ValueError says what is wrong."""
    for name, options in sections.items():
        value = getattr(config, name)
        if isinstance(value, str) and value.startswith("{"):
            value = _from_json(value, name)
        setattr(config, name, options.of(value, name))


def _from_json(text: str, name: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        problem = f"{error.msg}, column {error.colno}" if isinstance(error, json.JSONDecodeError) else str(error)
        raise ValueError(
            f'{name} = {text[:60]!r} is not JSON ({problem}): write it as {{"key": value}}, with double quotes'
        ) from None


@dataclass
class R2VPOConfig(GRPOConfig):
    """Options of `R2VPOTrainer`: all of TRL's `GRPOConfig`, the sections of a recipe, and the following.

    A section is given as its class (such as `r2vpo.ReplayOptions`), as a mapping of its options, or as just the value
    of its first option: `objective={"name": "clip", "options": {"clip_high": 0.28}}`, `dual="ascent"`,
    `step_control=False`, `replay=0`. docs/reference lists the options of each.

    If `bf16` and `fp16` are left out, `bf16` is on if the device multiplies in bfloat16
    (`r2vpo.precision`); TRL turns it on everywhere, which takes several times as long on most CPUs.

    Args:
        objective: The loss; its first option is the name, a key of `r2vpo.core.objectives.OBJECTIVES`.
        dual: The multiplier lambda; not used by an objective without one.
        step_control: Whether, and how, the learning rate follows V_d.
        rollout: Who samples the completions (its first option, `sampler`), and with which weights; `use_vllm=True` is
            the sampler vllm.
        replay: Training again on rollouts of earlier policy versions.
        advantage: The estimator of advantages; not used with a critic.
        critic: Whether a critic is trained, from whose values the advantages of tokens are computed, as in PPO:
            `critic=True`, or a mapping of its options.
        curriculum: Draw each round's prompts by the pass rate of their `difficulty`, a column of the data set, instead
            of in the data's order; see `r2vpo.data.curriculum`. A row passes when the first reward function gives 1 or
            more.
        logging_nan_inf_filter: As in transformers, but off: the trainer keeps a non-finite loss out of the logged mean
            in the same way, without waiting for the device at every micro-batch.
        shared_prefix: Whether the training forward computes each prompt once per group.
        skip_zero_advantage: Compute rows of zero advantage without a backward pass. They have no policy gradient, so
            this changes nothing but time; if they have a gradient after all (a two-sided penalty, a KL penalty, a
            router loss, a critic), none is skipped.
        disable_dropout: As in TRL, but on, and it cannot be turned off: each forward pass would draw a new mask, and
            the ratio of an unchanged policy would not be 1.

    Raises:
        ValueError: An option of TRL would silently change the objective, or a value is out of bounds; the message
            names the value and the remedy.
    """

    # TRL and transformers read the text of these as JSON.
    _VALID_DICT_FIELDS = GRPOConfig._VALID_DICT_FIELDS + list(SECTIONS)

    # Never None once the config is built; redeclared only for type checkers.
    if TYPE_CHECKING:
        steps_per_generation: Derived[int] = field(default_factory=Derived)
        generation_batch_size: Derived[int] = field(default_factory=Derived)
        num_generations: Derived[int] = field(default_factory=Derived)
        output_dir: Derived[str] = field(default_factory=Derived)
        bf16: Derived[bool] = field(default_factory=Derived)

    objective: Section[ObjectiveOptions] = section("objective")
    dual: Section[DualOptions] = section("dual")
    step_control: Section[StepControlOptions] = section("step_control")
    rollout: Section[RolloutOptions] = section("rollout")
    replay: Section[ReplayOptions] = section("replay")
    advantage: Section[AdvantageOptions] = section("advantage")
    critic: Section[CriticOptions] = section("critic")
    curriculum: Section[CurriculumOptions] = section("curriculum")
    gradient_checkpointing: bool = field(
        default=False,
        metadata={"help": "As in TRL, but off: it disables the cache through which prompts are shared."},
    )
    logging_nan_inf_filter: bool = field(
        default=False,
        metadata={
            "help": "Off: the trainer itself keeps a non-finite loss out of the log, without waiting for the device."
        },
    )
    shared_prefix: bool = field(default=True, metadata={"help": "Compute a prompt once per group in training."})
    skip_zero_advantage: bool = field(default=False, metadata={"help": "No backward pass for rows of zero advantage."})
    disable_dropout: bool = field(default=True, metadata={"help": "As in TRL, but on; it cannot be turned off."})

    def __new__(cls, *given: Any, **named: Any) -> Self:
        """Refuse former names of options, and report the present name."""
        for name in named:
            if name in FORMER:
                raise ValueError(f"{name} is now {FORMER[name]}")
        return super().__new__(cls)

    def __post_init__(self) -> None:
        """Validate every option; see the class."""
        read_sections(self, SECTIONS)
        self._settle_sampler()
        self._settle_precision()
        ignore_renamed_options()
        super().__post_init__()
        if self.n_gpu > 1:
            self._n_gpu = 1  # a process computes on one; transformers would put a copy of the model on each
        if self.use_vllm:
            # Our stale weight min(pi_k / mu, cap) also corrects for the engine's mismatch.
            self.vllm_importance_sampling_correction = False
        refuse(self, REFUSED)
        if not self.disable_dropout:
            raise ValueError(
                "disable_dropout=False is not supported; leave it at True: with dropout each forward pass draws a "
                "new mask, so the ratio of an unchanged policy is not 1, and step control reads that noise as movement"
            )
        if self.rollout.sampler == "shared_prefix":
            refuse(self, REFUSED_OWN_SAMPLER)
            if self.max_completion_length is None:
                raise ValueError(
                    "max_completion_length=None has no limit, and the sampler shared_prefix needs one; set a number of "
                    "tokens, or rollout='trl'"
                )
        refuse_generation_kwargs(self)
        self._check_batches()
        self._check_lag()
        self._check_step_kind()
        self._check_critic()
        self.method()

    @property
    def steps_per_round(self) -> int:
        """Return the number of optimizer steps from one generation to the next."""
        return self.steps_per_generation * self.num_iterations // self.gradient_accumulation_steps

    @property
    def local_rows(self) -> int:
        """Return the number of fresh rows of a round in each process."""
        return int(self.per_device_train_batch_size * self.steps_per_generation)

    def method(self) -> MethodOptions:
        """Return the options of objective, multiplier and step size."""
        return MethodOptions(objective=self.objective, dual=self.dual, step_control=self.step_control)

    def to_dict(self) -> dict[str, Any]:
        """Return the options as transformers does, with sections as mappings."""
        plain: dict[str, Any] = super().to_dict()
        return plain | {name: asdict(getattr(self, name)) for name in SECTIONS}

    def _settle_sampler(self) -> None:
        """Let TRL's `use_vllm` and the sampler vllm mean the same."""
        if self.use_vllm:
            self.rollout = replace(self.rollout, sampler="vllm")
        self.use_vllm = self.rollout.sampler == "vllm"

    def _settle_precision(self) -> None:
        self.use_cpu = self.use_cpu or not torch.accelerator.is_available()  # without use_cpu, bf16 would mean a GPU's
        fast = multiplies_bfloat16(on_cpu=self.use_cpu)
        if self.bf16 is None and not self.fp16:
            self.bf16 = fast
        if self.rollout.dtype == "auto":
            self.rollout = replace(self.rollout, dtype="bfloat16" if fast else "model")

    def _check_step_kind(self) -> None:
        if self.step_control.enabled and self.step_control.kind == "kl" and self.steps_per_round == 1:
            raise ValueError(
                "step_control.kind = kl measures how far a round's earlier steps have moved the policy, and rounds of "
                "one optimizer step have no earlier ones; make steps_per_generation x num_iterations / "
                "gradient_accumulation_steps 2 or more"
            )

    def _check_critic(self) -> None:
        problem = critic_problem(self.critic, self.advantage, self.replay)
        if problem is not None:
            raise ValueError(problem)

    def _check_lag(self) -> None:
        if self.rollout.lag and self.replay.versions:
            raise ValueError(
                f"rollout.lag = {self.rollout.lag} makes every row stale, and replay.versions = "
                f"{self.replay.versions} would add others; set replay.versions to 0"
            )

    def _check_batches(self) -> None:
        local = self.local_rows
        if local % self.num_generations:
            raise ValueError(
                f"each process generates {local} rows (per_device_train_batch_size "
                f"{self.per_device_train_batch_size} x "
                f"steps_per_generation {self.steps_per_generation}), which would split groups of num_generations="
                f"{self.num_generations}; make it a multiple"
            )
        if self.steps_per_generation % self.gradient_accumulation_steps:
            raise ValueError(
                f"steps_per_generation={self.steps_per_generation} micro-batches do not divide into optimizer steps of "
                f"gradient_accumulation_steps={self.gradient_accumulation_steps}; make it a multiple"
            )
