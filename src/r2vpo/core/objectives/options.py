"""Options that objectives share, each checked when a config is built."""

from dataclasses import dataclass
from typing import ClassVar

from r2vpo.core.aggregation import check_aggregation
from r2vpo.core.dual import KINDS
from r2vpo.core.radius import DELTA
from r2vpo.core.ratios import LEVELS, check_ratio_options
from r2vpo.core.validation import check_choice, check_number


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """Options that every objective has.

    Attributes:
        anchor: "proximal" (`r = pi / pi_k`, stale tokens weighted) or "behavior" (`r = pi / mu`).
        level: "token", or "response" for one ratio a response.
        stale_weight_cap: Largest stale weight, at least 1.
        aggregation: "token_mean", "sequence_mean" or "constant".
        constant: Tokens that a response is divided by, with aggregation "constant" only.
        levels: The levels that the objective is defined at.
        dual_kinds: The kinds of `DualController` that fit its constraint.

    Raises:
        ValueError: When built with a value out of its bounds.
    """

    anchor: str = "proximal"
    level: str = "token"
    stale_weight_cap: float = 2.0
    aggregation: str = "token_mean"
    constant: float | None = None

    levels: ClassVar[tuple[str, ...]] = LEVELS
    dual_kinds: ClassVar[tuple[str, ...]] = KINDS

    def __post_init__(self) -> None:
        check_ratio_options(self)
        check_choice("level", self.level, self.levels)
        check_aggregation(self.aggregation, self.constant)

    @property
    def constraint_target(self) -> float | None:
        """Target of what the multiplier constrains; None: the objective has no multiplier."""
        return None


@dataclass(frozen=True, kw_only=True)
class SurrogateConfig(ObjectiveConfig):
    """`ObjectiveConfig`, with the ratio-variance penalty as an addition.

    Attributes:
        ratio_variance_delta: Adds the ratio-variance penalty: each token's objective is lowered by
            `dual w (r - 1)^2`, r the objective's own ratio. The number is the target that `DualController` steers
            for, as `RatioVarianceConfig.delta`, above 0. None: no penalty, `dual` is not read.
    """

    ratio_variance_delta: float | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.ratio_variance_delta is not None:
            remedy = f"take {DELTA}, or None for no penalty"
            check_number("ratio_variance_delta", self.ratio_variance_delta, above=0, remedy=remedy)

    @property
    def constraint_target(self) -> float | None:
        """`ratio_variance_delta`."""
        return self.ratio_variance_delta
