"""Options that objectives share, checked when a config is built; this is their only declaration."""

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from r2vpo.core.declaration import Options, option
from r2vpo.core.options import DualOptions, choices_of

Anchor = Literal["proximal", "behavior"]
Level = Literal["token", "response"]
Aggregation = Literal["token_mean", "sequence_mean", "constant"]


def check_aggregation(aggregation: str | None, constant: float | None) -> None:
    """Check the two options of an aggregation together.

    Args:
        aggregation: how tokens are combined into one loss; None uses the objective's default.
        constant: the number of tokens that a response is divided by; required by "constant" and by no other
            aggregation.

    Raises:
        ValueError: the constant is missing, or would be ignored.
    """
    if aggregation == "constant" and constant is None:
        raise ValueError("aggregation = constant needs objective.constant: set it, such as to rollout.max_new_tokens")
    if aggregation != "constant" and constant is not None:
        raise ValueError(
            f"constant = {constant:g} is only used with aggregation constant: "
            "remove it, or set objective.aggregation=constant"
        )


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Options):
    """Options that every objective has; an objective may have its own defaults.

    Attributes:
        levels: The levels at which the objective is defined.
        dual_kinds: The kinds of `DualController` that fit its constraint.
    """

    anchor: Anchor = option(
        "proximal", "whether the ratio is to the policy at the round's start or to the one that sampled the row"
    )
    level: Level = option("token", "one ratio per token or per response; null uses the objective's default")
    stale_weight_cap: float = option(2.0, "upper bound of the importance weight of a stale token", at_least=1)
    aggregation: Aggregation = option(
        "token_mean", "how tokens are combined into one loss; null uses the objective's default"
    )
    constant: float | None = option(
        None, "number of tokens that a response is divided by, for aggregation constant", above=0
    )

    levels: ClassVar[tuple[str, ...]] = get_args(Level)
    dual_kinds: ClassVar[tuple[str, ...]] = choices_of(DualOptions, "kind")

    def check(self) -> None:
        """See `Options.check`."""
        if self.level not in self.levels:
            raise ValueError(f"level is {self.level!r}; choose one of {', '.join(self.levels)}")
        check_aggregation(self.aggregation, self.constant)

    @property
    def constraint_target(self) -> float | None:
        """Target of the quantity that the multiplier constrains; None if the objective has no multiplier."""
        return None


@dataclass(frozen=True, kw_only=True)
class SurrogateConfig(ObjectiveConfig):
    """`ObjectiveConfig` with an optional ratio-variance penalty.

    `ratio_variance_delta` lowers each token's objective by `dual w (r - 1)^2`, where r is the objective's own ratio.
    """

    ratio_variance_delta: float | None = option(
        None,
        "adds the ratio-variance penalty, whose multiplier aims at this value, like objective.delta",
        at_least=1e-9,
    )

    @property
    def constraint_target(self) -> float | None:
        """`ratio_variance_delta`."""
        return self.ratio_variance_delta
