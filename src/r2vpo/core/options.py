"""The options of the controls, the replay, the advantages and the curriculum; this is their only declaration.

A recipe has these sections, `R2VPOConfig` takes them, and the integrations with other frameworks read them. They do not
need torch, so an invalid recipe is rejected at once. The options of the objective are in `r2vpo.core.method_options`.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Literal, get_type_hints

from r2vpo.core.declaration import Options, choices, option

TARGET_KL = 0.01
"""Target of step control of kind "kl", nats per token: the default of rsl_rl, where it is per action; skrl's is
0.008."""


def choices_of(section: type[Options], name: str) -> tuple[str, ...]:
    """Return the texts that an option accepts.

    Args:
        section: the section that declares it.
        name: its name.
    """
    return choices(get_type_hints(section)[name])


@dataclass(frozen=True)
class DualOptions(Options):
    """The multiplier lambda of the constraint, for objectives that have one."""

    kind: Literal["ascent", "closed_form", "doubling", "fixed"] = option(
        "closed_form",
        "how lambda is found: closed_form (lambda* of each round's batch), ascent (follows V_d once per optimizer "
        "step), doubling (PPO's rule, once per round) or fixed",
        study=True,
    )
    eta: float = option(0.1, "ascent: step size of log lambda", above=0, at_most=1, study=True)
    lower: float = option(0.02, "lowest lambda, so that some brake remains; not used with kind fixed", above=0)
    upper: float | None = option(
        None, "highest lambda; null means the batch's closed form, or a million with kind doubling", above=0, study=True
    )
    value: float | None = option(
        None, "fixed: lambda itself; ascent, doubling: the initial lambda", at_least=0, study=True
    )

    def check(self) -> None:
        """See `Options.check`."""
        if self.kind == "fixed" and self.value is None:
            raise ValueError("kind = fixed needs dual.value: set it, for example to 2.5")
        if self.kind == "closed_form" and self.value is not None:
            raise ValueError(
                f"value = {self.value:g} is not used with kind closed_form: remove it, or set dual.kind=fixed"
            )
        if self.upper is not None and self.upper < self.lower:
            raise ValueError(f"upper = {self.upper:g} is below lower = {self.lower:g}: raise dual.upper")


@dataclass(frozen=True)
class StepControlOptions(Options):
    """Control of the learning rate by V_d, so that a round reaches its trust radius."""

    enabled: bool = option(True, "let the learning rate follow V_d")
    kind: Literal["decision_variance", "kl"] = option(
        "decision_variance",
        "what the learning rate follows: V_d, or the KL divergence by the KL-adaptive rule, an alternative for "
        "comparison that uses only target_kl, min_scale and max_scale",
        study=True,
    )
    target_kl: float | None = option(
        None, f"kl: target of the KL divergence, nats per token; null means {TARGET_KL}", above=0, study=True
    )
    first_scale: float = option(0.05, "scale of the first step, small because nothing has been measured yet", above=0)
    grow: float = option(2.0, "largest factor by which the scale may grow in one step", above=1)
    memory: float = option(
        0.95, "weight that a round's measurement keeps from one round to the next", at_least=0, below=1
    )
    min_scale: float = option(1e-4, "lowest scale", above=0)
    max_scale: float = option(1e4, "highest scale", above=0)

    def check(self) -> None:
        """See `Options.check`."""
        if self.kind == "kl":
            self._check_kl()
            return
        if self.target_kl is not None:
            raise ValueError(
                f"target_kl = {self.target_kl:g} is not used with kind {self.kind}: remove it, or set "
                "step_control.kind=kl"
            )
        if not self.min_scale <= self.first_scale <= self.max_scale:
            raise ValueError(
                f"first_scale = {self.first_scale:g} is outside min_scale {self.min_scale:g} .. max_scale "
                f"{self.max_scale:g}: choose one between them"
            )

    def _check_kl(self) -> None:
        for field in fields(self):
            if field.name in ("first_scale", "grow", "memory") and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name} = {getattr(self, field.name):g} is not used with kind kl: remove it")
        if not self.min_scale <= 1 <= self.max_scale:
            raise ValueError(
                f"min_scale = {self.min_scale:g} and max_scale = {self.max_scale:g} exclude 1, where kind kl starts: "
                "set them around it"
            )


@dataclass(frozen=True)
class RolloutOptions(Options):
    """Who samples the completions, and with which weights."""

    sampler: Literal["shared_prefix", "trl", "vllm"] = option(
        "shared_prefix", "sampler: this package's, which computes a prompt once per group, TRL's, or vLLM"
    )
    dtype: Literal["auto", "bfloat16", "model"] = option(
        "auto",
        "type of the sampling weights; auto is bfloat16 if the device multiplies in it, model samples from the model "
        "itself",
        study=True,
    )
    rows_per_batch: int | None = option(
        None,
        "completions that shared_prefix samples at once, to bound its cache; null means all. The completions are the "
        "same either way",
        at_least=1,
    )
    lag: int = option(
        0,
        "rounds that the sampling policy lags behind, to study staleness; keeps a copy of the weights per round, and "
        "needs the sampler shared_prefix and no replay",
        at_least=0,
        at_most=10_000,
        study=True,
    )

    def check(self) -> None:
        """See `Options.check`."""
        if self.rows_per_batch is not None and self.sampler != "shared_prefix":
            raise ValueError(
                f"rows_per_batch = {self.rows_per_batch} is for sampler shared_prefix, but the sampler is "
                f"{self.sampler}: remove it"
            )
        if self.lag and self.sampler != "shared_prefix":
            raise ValueError(
                f"lag = {self.lag} needs this package's sampler, but the sampler is {self.sampler}: set "
                "rollout.sampler=shared_prefix, or rollout.lag=0"
            )


@dataclass(frozen=True)
class BufferOptions(Options):
    """Replay: rollouts of earlier policy versions that are trained on again."""

    versions: int = option(
        5, "number of rounds for which a rollout is kept; 0 trains on fresh rollouts only", at_least=0, at_most=10_000
    )
    ratio: float = option(1.0, "number of stale rows per fresh row", at_least=0)
    max_megabytes: float | None = option(None, "memory for kept rollouts per process; null means no limit", above=0)

    def check(self) -> None:
        """See `Options.check`."""
        if self.versions > 0 and self.ratio == 0:
            raise ValueError(
                f"versions = {self.versions} keeps rollouts that ratio = 0 never uses: "
                "set replay.ratio above 0, or replay.versions=0"
            )


@dataclass(frozen=True)
class AdvantageOptions(Options):
    """How rewards become advantages."""

    name: Literal["grpo", "dr_grpo", "rloo", "reinforce_pp"] = option("grpo", "the estimator")


@dataclass(frozen=True)
class CurriculumOptions(Options):
    """Curriculum: more prompts of difficulties that are solved sometimes, fewer of those solved always or never."""

    enabled: bool = option(False, "draw prompts by the pass rate of their difficulty")
    memory: float = option(0.8, "weight that pass rates keep from one round to the next", at_least=0, below=1)
    floor: float = option(0.1, "smallest weight of a difficulty, so that none is dropped", above=0, at_most=1)
