"""DPPO with the binary total variation: the mask depends on the change of the probability, not on the ratio."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class DppoTvConfig(SurrogateConfig):
    """Options of `dppo_tv_loss`, in addition to those of `SurrogateConfig`; level "token" only."""

    tv_low: float = option(
        0.15,
        "a token of negative advantage is left out once its probability has fallen by more than this",
        above=0,
        at_most=1,
    )
    tv_high: float = option(
        0.15,
        "a token of positive advantage is left out once its probability has risen by more than this",
        above=0,
        at_most=1,
    )
    ratio_cap: float = option(20.0, "largest importance weight", at_least=1)

    levels: ClassVar[tuple[str, ...]] = ("token",)


def dppo_tv_surrogate(terms: Terms, config: DppoTvConfig) -> Tensor:
    """Compute `s = keep sg(min(r, ratio_cap)) A log r`, where sg stops the gradient.

    `keep = 0` where `A > 0` and `p (r - 1) > tv_high`, or `A <= 0` and `p (r - 1) < -tv_low`, else 1. r: ratio to the
    anchor; A: advantage; p: probability of the token under the anchor. `p (r - 1)` is the change of the token's
    probability, whose size is the total variation of the choice between this token and any other.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r`.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: DPPO (2602.04879), the binary variant; form, thresholds of 0.15 and cap follow verl 0.9.1 and its script,
    since the paper's own numbers could not be read. The paper measures against the sampler (anchor "behavior"). Ours:
    `log r` instead of `log pi`, which shifts the value by a constant.
    """
    A, p = terms.A, terms.ratios.anchor_log_probs.exp()
    change = p * terms.r_minus_1.detach()
    # Written so that a token whose anchor is unknown, where the change is NaN, is kept.
    beyond = torch.where(A > 0, change > config.tv_high, change < -config.tv_low)
    weight = torch.where(beyond, 0.0, terms.r.detach().clamp(max=config.ratio_cap))
    return weight * A * terms.log_r


dppo_tv_loss = loss_of(dppo_tv_surrogate, DppoTvConfig())
