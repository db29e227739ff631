"""PPO's clipped surrogate, as used by GRPO and DAPO."""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class ClipConfig(SurrogateConfig):
    """Options of `clip_loss`, in addition to those of `SurrogateConfig`."""

    clip_low: float = option(0.2, "the ratio is clipped below 1 - clip_low", above=0, at_most=1)
    clip_high: float = option(0.2, "the ratio is clipped above 1 + clip_high; DAPO uses 0.28", above=0)
    dual_clip: float | None = option(
        None, "for negative advantages the surrogate is at least dual_clip A; null means no such bound", above=1
    )


def clip_surrogate(terms: Terms, config: ClipConfig) -> Tensor:
    """Compute `s = min(r A, clamp(r, 1 - clip_low, 1 + clip_high) A)`; where `A < 0`, at least `dual_clip A`.

    r: ratio to the anchor; A: advantage. A token whose ratio has left the range in the direction of its advantage has
    no gradient.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: PPO (1707.06347) eq. 7; dual clip: 1912.09729 eq. 5; separate bounds: DAPO (2503.14476). Ours: the stale
    weight is applied outside the minimum (2110.00641), so that only this round's own movement is clipped.
    """
    r, A = terms.r, terms.A
    s = torch.minimum(r * A, r.clamp(1.0 - config.clip_low, 1.0 + config.clip_high) * A)
    if config.dual_clip is not None:
        s = torch.where(A < 0, torch.maximum(s, config.dual_clip * A), s)
    return s


clip_loss = loss_of(clip_surrogate, ClipConfig())
