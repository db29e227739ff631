"""The options of the objective, and those of a whole method; this is their only declaration.

They do not need torch, so an invalid recipe is rejected at once. The options that all objectives share are declared in
`r2vpo.core.objective_config`, and an objective's own options next to its loss.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any, Literal

from r2vpo.core.declaration import Options, option, same_as
from r2vpo.core.objective_config import Aggregation, Anchor, Level, ObjectiveConfig, check_aggregation
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.radius import DELTA

ObjectiveName = Literal[
    "r2vpo", "clip", "spo", "cispo", "gspo", "sapo", "m2po", "dppo_tv", "vespo", "topr", "p3o", "kl_penalty",
    "policy_gradient",
]  # fmt: skip


LOSS_OF = {"grpo": "clip", "ppo": "clip"}
"""Names of methods, in lower case, that are understood as the objective with their loss."""


def objective_name(name: Any) -> Any:
    """Return the objective that a method's name stands for, with a warning about the rest of the method."""
    if not isinstance(name, str) or name.lower() not in LOSS_OF:
        return name
    objective = LOSS_OF[name.lower()]
    warnings.warn(
        f"objective.name = {name}: GRPO's and PPO's loss is the objective {objective}, which is used; replay and step "
        "control, which GRPO and PPO do not have, stay as they are set: replay.versions=0 and "
        "step_control.enabled=false turn them off",
        UserWarning,
        stacklevel=4,
    )
    return objective


@dataclass(frozen=True)
class RatioVarianceOptions(Options):
    """The ratio-variance penalty, added to another objective."""

    delta: float = option(DELTA, "like objective.delta, for the penalty's multiplier", at_least=1e-9)


@dataclass(frozen=True)
class ObjectiveOptions(Options):
    """The loss."""

    name: ObjectiveName = option(
        "r2vpo",
        "r2vpo (a soft constraint on the ratio's variance), clip (PPO's clipping), or another objective from the table",
    )
    delta: float = option(
        DELTA,
        "how far a round may move the policy: V_d, the ratio variance per decision, per informative rollout; the same "
        "value suits every task. Step control aims at it with every objective",
        at_least=1e-9,
    )
    anchor: Anchor = same_as(ObjectiveConfig, "anchor", "proximal")
    level: Level | None = same_as(ObjectiveConfig, "level", None)
    aggregation: Aggregation | None = same_as(ObjectiveConfig, "aggregation", None)
    constant: float | None = same_as(ObjectiveConfig, "constant", None)
    stale_weight_cap: float = same_as(ObjectiveConfig, "stale_weight_cap", 2.0)
    options: dict[str, Any] = option({}, "the objective's own options, such as clip_high; see the table of options")
    ratio_variance: RatioVarianceOptions | None = option(
        None, "adds the ratio-variance penalty to the objective; {} adds it with its defaults, null adds nothing"
    )

    @classmethod
    def given(cls, value: Any) -> Any:
        """See `Options.given`; `grpo` and `ppo` are understood as names of their loss."""
        given = super().given(value)
        if isinstance(given, dict) and "name" in given:
            return {**given, "name": objective_name(given["name"])}
        return given

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", objective_name(self.name))
        super().__post_init__()

    def check(self) -> None:
        """See `Options.check`."""
        check_aggregation(self.aggregation, self.constant)
        if self.ratio_variance is not None and self.name == "r2vpo":
            raise ValueError("ratio_variance is r2vpo's own penalty: set objective.delta, and leave ratio_variance out")
        if self.ratio_variance is not None and self.name == "kl_penalty":
            raise ValueError(
                "ratio_variance needs the multiplier, which kl_penalty already uses for its divergence: leave it out, "
                "or set objective.name=policy_gradient"
            )
        if self.name != "r2vpo" or self.options:
            # Imported only here: it imports torch, and an invalid recipe should be rejected without waiting for that.
            from r2vpo.core.objectives.registry import objective_config

            objective_config(self)


@dataclass(frozen=True)
class MethodOptions(Options):
    """What any trainer needs to know about a method: objective, multiplier and step size."""

    objective: ObjectiveOptions = option(ObjectiveOptions(), "the loss")
    dual: DualOptions = option(DualOptions(), "the multiplier lambda of the variance constraint")
    step_control: StepControlOptions = option(StepControlOptions(), "step control: the learning rate follows V_d")

    def check(self) -> None:
        """See `Options.check`."""
        if self.objective.name == "r2vpo":
            return
        from r2vpo.core.objectives.registry import objective_config

        config = objective_config(self.objective)
        if config.constraint_target is not None and self.dual.kind not in config.dual_kinds:
            raise ValueError(
                f"dual.kind = {self.dual.kind} does not fit objective.name = {self.objective.name}: set dual.kind="
                f"{' or '.join(config.dual_kinds)}"
            )
