"""VESPO: a smooth weight that depends on the whole response's importance ratio."""

import math
from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, by_sign, loss_of

SMALLEST_RATIO = 1e-8
"""The response's ratio is at least this, as in the authors' code."""


@dataclass(frozen=True, kw_only=True)
class VespoConfig(SurrogateConfig):
    """Options of `vespo_loss`, in addition to those of `SurrogateConfig`; level "token" only."""

    k_positive: float = option(2.0, "power of the ratio where the advantage is not negative", at_least=0)
    lambda_positive: float = option(3.0, "decay of the weight where the advantage is not negative", above=0)
    k_negative: float = option(3.0, "power of the ratio where the advantage is negative", at_least=0)
    lambda_negative: float = option(2.0, "decay of the weight where the advantage is negative", above=0)

    levels: ClassVar[tuple[str, ...]] = ("token",)


def vespo_surrogate(terms: Terms, config: VespoConfig) -> Tensor:
    """Compute `s = sg(phi(W)) A log r`, `phi(W) = W^k exp(decay (1 - W))`, where sg stops the gradient.

    W: ratio of the whole response, the product of its tokens' r, between 1e-8 and exp(20); A: advantage; k and decay:
    `k_positive` and `lambda_positive` where A is not negative, else `k_negative` and `lambda_negative`. `phi(1) = 1`.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r`.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: VESPO (2602.10693) and its authors' code, whose exponents are the defaults. In the paper W is relative to
    the sampler (anchor "behavior"); under "proximal" W is the round's own movement, and staleness is in the token
    weights. Ours: `log r` instead of `log pi`, which shifts the value by a constant.
    """
    log_W = terms.log_W.clamp(min=math.log(SMALLEST_RATIO))
    positive = terms.A >= 0
    k = by_sign(positive, config.k_positive, config.k_negative, like=log_W)
    decay = by_sign(positive, config.lambda_positive, config.lambda_negative, like=log_W)
    phi = (k * log_W - decay * log_W.expm1()).exp()
    return phi * terms.A * terms.log_r


vespo_loss = loss_of(vespo_surrogate, VespoConfig())
