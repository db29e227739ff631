"""P3O: the batch's effective sample size caps the weights and sets a KL penalty."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.masking import masked_sum
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class P3oConfig(SurrogateConfig):
    """Options of `p3o_loss`: those of `SurrogateConfig`; level "token" only."""

    levels: ClassVar[tuple[str, ...]] = ("token",)


def effective_sample_size(ratio: Tensor, weight: Tensor | None, response_mask: Tensor) -> Tensor:
    """Compute `e = (sum w r)^2 / (sum w  sum w r^2)`, the normalised effective sample size of the ratios.

    With a mean ratio of 1 it is `1 / (1 + V)`, V the ratio variance.

    Args:
        ratio: (B, T).
        weight: (B, T), 0 outside the mask; None for 1 everywhere.
        response_mask: (B, T) bool.

    Returns:
        0-d, detached, in (0, 1]; 1 if there are no tokens.
    """
    ratio = ratio.detach()
    weight = response_mask.to(ratio.dtype) if weight is None else weight
    once, twice = (masked_sum(weight * power, response_mask) for power in (ratio, ratio.square()))
    total = weight.sum() * twice
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
    ratio, logs = terms.ratio, terms.ratios.log_ratio
    size = effective_sample_size(ratio, terms.ratios.stale_weight, terms.response_mask)
    divergence = ratio * logs - terms.ratios.deviation
    return torch.minimum(ratio.detach(), size) * terms.gain * logs - (1.0 - size) * divergence


p3o_loss = loss_of(p3o_surrogate, P3oConfig())
