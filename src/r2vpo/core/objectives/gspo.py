"""GSPO: clipping with one ratio per response."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from r2vpo.core.declaration import same_as
from r2vpo.core.objective_config import Aggregation, Level
from r2vpo.core.objectives.clip import ClipConfig, clip_surrogate
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class GspoConfig(ClipConfig):
    """Options of `gspo_loss`: those of `ClipConfig`, at level "response" only; at "token" it would be `clip_loss`.

    Aggregation "sequence_mean" counts all responses equally, as the paper does.
    """

    level: Level = same_as(ClipConfig, "level", "response")
    aggregation: Aggregation = same_as(ClipConfig, "aggregation", "sequence_mean")
    clip_low: float = same_as(ClipConfig, "clip_low", 3e-4)
    clip_high: float = same_as(ClipConfig, "clip_high", 4e-4)

    levels: ClassVar[tuple[str, ...]] = ("response",)


def gspo_surrogate(terms: Terms, config: GspoConfig) -> Tensor:
    """Compute `s = min(r A, clamp(r, 1 - clip_low, 1 + clip_high) A)`, as `clip_surrogate`, with one r per response.

    r: ratio of a response to the anchor, the geometric mean of its tokens' ratios; A: advantage.

    Args:
        terms: (B, 1) ratios, dimensionless; gradient flows through them.
        config: Options.

    Returns:
        (B, 1), or (B, T) with advantages of that shape, to be maximised.

    Source: GSPO (2507.18071) eq. 5, with its bounds. With advantages of shape (B, T) it is GSPO-token except for where
    the mean is taken: here all tokens share the response's gradient.
    """
    return clip_surrogate(terms, config)


gspo_loss = loss_of(gspo_surrogate, GspoConfig())
