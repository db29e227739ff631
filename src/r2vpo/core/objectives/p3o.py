"""P3O: the batch's effective sample size caps the weights and sets a KL penalty."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of
from r2vpo.core.types import Ratios


@dataclass(frozen=True, kw_only=True)
class P3oConfig(SurrogateConfig):
    """Options of `p3o_loss`: those of `SurrogateConfig`; level "token" only."""

    levels: ClassVar[tuple[str, ...]] = ("token",)


def effective_sample_size(ratios: Ratios) -> Tensor:
    """Compute `e = (sum w r)^2 / (sum w  sum w r^2)`, the normalised effective sample size of the ratios.

    With a mean ratio of 1 it is `1 / (1 + V)`, V the ratio variance.

    Args:
        ratios: Those to the anchor.

    Returns:
        0-d, detached, in (0, 1]; 1 if there are no tokens.
    """
    r = ratios.ratio_minus_1.detach() + 1.0
    once, twice = ratios.weighted_sum(r), ratios.weighted_sum(r.square())
    total = ratios.weight_sum * twice
    return torch.where(total > 0, once.square() / total, torch.ones_like(total))


def p3o_surrogate(terms: Terms, config: P3oConfig) -> Tensor:
    """Compute `s = sg(min(r, e)) A log r - (1 - e) (r log r - (r - 1))`, where sg stops the gradient.

    e: `effective_sample_size`; r: ratio to the anchor; A: advantage. `r log r - (r - 1)` is never negative, and its
    mean under the anchor is KL(current || anchor); its gradient in log pi is `r log r`.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r` and the divergence.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: P3O (2605.12380), whose ratio is to the sampler (anchor "behavior"); the name and the statistic are from
    1905.01756. Implemented from descriptions, not from the paper. Ours: the divergence is estimated from the sampled
    tokens, and `log r` replaces `log pi`, which shifts the value by a constant. e is computed from the rows of one
    call, so micro-batches do not add up to the whole batch.
    """
    r, log_r, e = terms.r, terms.log_r, effective_sample_size(terms.ratios)
    return torch.minimum(r.detach(), e) * terms.A * log_r - (1.0 - e) * (r * log_r - terms.r_minus_1)


p3o_loss = loss_of(p3o_surrogate, P3oConfig())
