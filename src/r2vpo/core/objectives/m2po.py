"""M2PO: tokens are left out until the second moment of the log-ratio is small."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class M2poConfig(SurrogateConfig):
    """Options of `m2po_loss`, beside those of `SurrogateConfig`; level "token" only."""

    second_moment: float = option(
        0.04, "largest mean of (log r)^2 over the tokens that are kept of those that it looks at, nats squared", above=0
    )

    levels: ClassVar[tuple[str, ...]] = ("token",)


def second_moment_mask(log_ratio: Tensor, gain: Tensor, response_mask: Tensor, bound: float) -> Tensor:
    """Which tokens M2PO keeps.

    Of the tokens that a step drives further out (`A > 0` and `r > 1`, or `A < 0` and `r < 1`) the one of the
    largest `(log r)^2` is left out, again and again, until the mean over the rest is at most the bound. All other
    tokens are kept. Sorted, that is the longest run of smallest values whose mean fits. No device is waited for.

    Args:
        log_ratio: (B, T) nats.
        gain: (B, 1) or (B, T).
        response_mask: (B, T) bool.
        bound: Nats squared.

    Returns:
        (B, T) bool, True on padding.
    """
    outward = response_mask & (gain * log_ratio > 0)
    squares = torch.where(outward, log_ratio.square(), torch.inf).flatten()
    ascending, order = squares.sort(stable=True)
    counts = torch.arange(1, len(ascending) + 1, device=ascending.device)
    # Infinity sorts last, and a sum that has met it stays infinite: such a mean never fits.
    fits = ascending.cumsum(0) / counts <= bound
    dropped = torch.zeros_like(fits).scatter(0, order, ~fits).view_as(outward)
    return ~(dropped & outward)


def m2po_surrogate(terms: Terms, config: M2poConfig) -> Tensor:
    """`s = M r A`, M in {0, 1} by `second_moment_mask`.

    r: ratio to the anchor; A: advantage. What is left out still counts in the denominator.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: M2PO (2510.01161), algorithm 1 and tau = 0.04. There the ratio is to the sampler (anchor "behavior").
    The mask is made from the rows of one call, as in both codes, so that micro-batches do not add up to the
    whole. The authors' code masks nothing: it turns the bound into a clip range [exp(-t), exp(t)] that is never
    narrower than [0.7, 1.5]. AReaL compares sampler and round's start instead of the current policy, looks at
    all tokens, whatever their advantage, and takes what is left out from the denominator.
    """
    mask = second_moment_mask(terms.ratios.log_ratio.detach(), terms.gain, terms.response_mask, config.second_moment)
    return torch.where(mask, terms.ratio * terms.gain, 0.0)


m2po_loss = loss_of(m2po_surrogate, M2poConfig())
