"""Options that objectives share, checked when a config is built."""

from dataclasses import dataclass
from typing import ClassVar

from r2vpo.core.declaration import Options, option, same_as
from r2vpo.core.options import (
    Aggregation,
    Anchor,
    DualOptions,
    Level,
    ObjectiveOptions,
    check_aggregation,
    choices_of,
)


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig(Options):
    """Options that every objective has, declared as in `ObjectiveOptions`, with the objective's own defaults.

    Attributes:
        levels: The levels at which the objective is defined.
        dual_kinds: The kinds of `DualController` that fit its constraint.
    """

    anchor: Anchor = same_as(ObjectiveOptions, "anchor", "proximal")
    level: Level = same_as(ObjectiveOptions, "level", "token")
    stale_weight_cap: float = same_as(ObjectiveOptions, "stale_weight_cap", 2.0)
    aggregation: Aggregation = same_as(ObjectiveOptions, "aggregation", "token_mean")
    constant: float | None = same_as(ObjectiveOptions, "constant", None)

    levels: ClassVar[tuple[str, ...]] = choices_of(ObjectiveOptions, "level")
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
