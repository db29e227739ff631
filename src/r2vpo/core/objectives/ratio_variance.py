"""R²VPO: the policy gradient under a soft constraint on the variance of the ratio."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from r2vpo.core.declaration import option, same_as
from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of
from r2vpo.core.radius import DELTA


@dataclass(frozen=True, kw_only=True)
class RatioVarianceConfig(ObjectiveConfig):
    """Options of `r2vpo_loss`, in addition to those of `ObjectiveConfig`.

    Delta does not enter the loss, where it would not change any gradient; it is the target of `DualController`.
    """

    delta: float = same_as(ObjectiveOptions, "delta", DELTA)
    brake: Literal["outward", "two_sided"] = option(
        "outward",
        "outward: a token's gradient shrinks linearly as its ratio goes from 1 to r* = 1 + A / (2 lambda), and "
        "movement caused by other tokens is not penalised; two_sided: the plain Lagrangian, which also draws a token "
        "back, whatever has moved it",
    )

    @property
    def constraint_target(self) -> float | None:
        """`delta`."""
        return self.delta


def r2vpo_surrogate(terms: Terms, config: RatioVarianceConfig) -> Tensor:
    """Compute `s = A q - lambda max(sign(A) (q - 1), 0)^2`, `q = min(r, r*)` for A > 0, else `max(r, r*)`.

    r: ratio to the anchor; A: advantage; lambda: the multiplier, `dual`; `r* = 1 + A / (2 lambda)`: the ratio at which
    the Lagrangian of a token, `A r - lambda (r - 1)^2`, is largest. With brake "two_sided", s is that Lagrangian.

    The gradient of the Lagrangian in log pi is `r (A - 2 lambda (r - 1))`: the token is braked on the way to r*, drawn
    back from beyond it, and drawn back to 1 if it has moved against its own advantage. With brake "outward" (the
    default) s is the largest value that the Lagrangian has reached on the way, and its gradient is
    `r A clip(1 - 2 lambda (r - 1) / A, 0, 1)`: braked in the same way up to r*, zero beyond it, and the plain policy
    gradient on the other side of 1. A token of advantage 0 has no gradient. Tokens share weights, so much of a ratio's
    movement is what other tokens have taught the policy; the two-sided penalty undoes that too, and costs more than it
    saves (docs/history.md).

    Args:
        terms: (B, T) or (B, 1), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: R²VPO (2601.03320) as described in its abstract. Ours: the brake "outward", the stale weight and the
    proximal anchor (2110.00641), the response level (GSPO, 2507.18071), and dividing the penalty by the same N as the
    surrogate, which does not change r*.
    """
    A, r_minus_1, dual = terms.A, terms.r_minus_1, terms.dual
    if config.brake == "two_sided":
        # r A - lambda (r - 1)^2 is A + (r - 1) (A - lambda (r - 1)): two fused passes instead of five.
        return torch.addcmul(A, r_minus_1, A - dual * r_minus_1)
    size = A.abs()
    # |r* - 1|: with a multiplier of 0 a number so large that no ratio reaches it.
    furthest = size / (2 * dual).clamp(min=torch.finfo(A.dtype).tiny)
    moved = (A.sign() * r_minus_1).clamp(max=furthest)  # m = sign(A) (q - 1)
    return torch.addcmul(A, moved, size - dual * moved.relu())  # A q = A + |A| m, and max(m, 0)^2 = m max(m, 0)


r2vpo_loss = loss_of(r2vpo_surrogate, RatioVarianceConfig())
