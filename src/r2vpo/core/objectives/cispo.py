"""CISPO: the importance weight is clipped, so no token loses its gradient."""

from dataclasses import dataclass

from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class CispoConfig(SurrogateConfig):
    """Options of `cispo_loss`, in addition to those of `SurrogateConfig`."""

    clip_low: float | None = option(
        None, "the weight is at least 1 - clip_low; null means no lower bound", above=0, at_most=1
    )
    clip_high: float = option(4.0, "the weight is at most 1 + clip_high", above=0)


def cispo_surrogate(terms: Terms, config: CispoConfig) -> Tensor:
    """Compute `s = sg(clamp(r, 1 - clip_low, 1 + clip_high)) A log r`, where sg stops the gradient.

    r: ratio to the anchor; A: advantage. The gradient in log pi is `clamp(r, 1 - clip_low, 1 + clip_high) A`.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r`.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: MiniMax-M1 (2506.13585), also without a lower bound. The paper leaves the upper bound open; the default, a
    weight of at most 5, is ScaleRL's (2510.13786), which TRL recommends. Ours: `log r` instead of `log pi`, which
    shifts the value by a constant and changes no gradient within +-20 nats.
    """
    lowest = None if config.clip_low is None else 1.0 - config.clip_low
    clamped = terms.r.detach().clamp(min=lowest, max=1.0 + config.clip_high)
    return clamped * terms.A * terms.log_r


cispo_loss = loss_of(cispo_surrogate, CispoConfig())
