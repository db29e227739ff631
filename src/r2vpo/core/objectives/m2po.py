"""M2PO: tokens are masked until the second moment of the log-ratio is small."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class M2poConfig(SurrogateConfig):
    """Options of `m2po_loss`, in addition to those of `SurrogateConfig`; level "token" only."""

    second_moment: float = option(
        0.04, "largest mean of (log r)^2 over the kept tokens among those that move outward, nats squared", above=0
    )

    levels: ClassVar[tuple[str, ...]] = ("token",)


def second_moment_mask(log_r: Tensor, A: Tensor, response_mask: Tensor, bound: float) -> Tensor:
    """Select the tokens that M2PO keeps.

    Of the tokens that a step drives further outward (`A > 0` and `r > 1`, or `A < 0` and `r < 1`), the one with the
    largest `(log r)^2` is masked, repeatedly, until the mean over the rest is at most the bound. All other tokens are
    kept. In sorted order, the kept tokens are the longest run of smallest values whose mean is within the bound. This
    does not wait for the device.

    Args:
        log_r: (B, T) nats.
        A: (B, 1) or (B, T).
        response_mask: (B, T) bool.
        bound: Nats squared.

    Returns:
        (B, T) bool, True on padding.
    """
    outward = response_mask & (A * log_r > 0)
    squares = torch.where(outward, log_r.square(), torch.inf).flatten()
    ascending, order = squares.sort(stable=True)
    counts = torch.arange(1, len(ascending) + 1, device=ascending.device)
    # Infinity sorts last, and a sum that includes it stays infinite, so such a mean is never within the bound.
    fits = ascending.cumsum(0) / counts <= bound
    dropped = torch.zeros_like(fits).scatter(0, order, ~fits).view_as(outward)
    return ~(dropped & outward)


def m2po_surrogate(terms: Terms, config: M2poConfig) -> Tensor:
    """Compute `s = keep r A`, with keep in {0, 1} by `second_moment_mask`.

    r: ratio to the anchor; A: advantage. Masked tokens still count in the denominator.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: M2PO (2510.01161), algorithm 1 and tau = 0.04. In the paper the ratio is to the sampler (anchor "behavior").
    The mask is computed from the rows of one call, as in both implementations, so micro-batches do not add up to the
    whole batch. The authors' code masks nothing: it turns the bound into a clip range [exp(-t), exp(t)] that is never
    narrower than [0.7, 1.5]. AReaL compares the policy at the round's start, instead of the current one, with the
    sampler, looks at all tokens whatever their advantage, and excludes masked tokens from the denominator.
    """
    A, response_mask = terms.A, terms.ratios.response_mask
    keep = second_moment_mask(terms.log_r.detach(), A, response_mask, config.second_moment)
    return torch.where(keep, terms.r * A, 0.0)


m2po_loss = loss_of(m2po_surrogate, M2poConfig())
