"""TOPR: good responses get their full gradient, bad ones only in proportion to how likely they still are."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class ToprConfig(SurrogateConfig):
    """Options of `topr_loss`: those of `SurrogateConfig`; level "token" only."""

    levels: ClassVar[tuple[str, ...]] = ("token",)


def topr_surrogate(terms: Terms, config: ToprConfig) -> Tensor:
    """Compute `s = sg(alpha) A log r`, `alpha = 1` where `A >= 0`, else `min(W, 1)`; sg stops the gradient.

    W: ratio of the whole response, the product of its tokens' r; A: advantage. A bad response that has become unlikely
    is no longer pushed down; a good one is pulled up however unlikely it is.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r`.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: TOPR (2503.14286), the gradient that defines it, with the bounds 0 and 1; the paper uses rewards for A and
    the sampler as the anchor ("behavior"). Trinity-RFT uses each token's own ratio for W. Ours: `log r` instead of `log
    pi`, which shifts the value by a constant.
    """
    alpha = torch.where(terms.A < 0, terms.log_W.clamp(max=0.0).exp(), 1.0)
    return alpha * terms.A * terms.log_r


topr_loss = loss_of(topr_surrogate, ToprConfig())
