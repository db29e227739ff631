"""DPPO with the binary total variation: a mask by the change of probability, not of the ratio."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class DppoTvConfig(SurrogateConfig):
    """Options of `dppo_tv_loss`, beside those of `SurrogateConfig`; level "token" only."""

    tv_low: float = option(
        0.15,
        "a token of negative advantage is left out once its probability has fallen by more than this",
        above=0,
        at_most=1,
    )
    tv_high: float = option(
        0.15, "a token of positive advantage, once its probability has risen by more than this", above=0, at_most=1
    )
    ratio_cap: float = option(20.0, "largest importance weight", at_least=1)

    levels: ClassVar[tuple[str, ...]] = ("token",)


def dppo_tv_surrogate(terms: Terms, config: DppoTvConfig) -> Tensor:
    """`s = M sg(min(r, ratio_cap)) A log r`, sg: without gradient.

    `M = 0` where `A > 0` and `p - q > tv_high`, or `A <= 0` and `p - q < -tv_low`; p, q: probability of the token
    under the current policy and the anchor, whose difference is the total variation between "this token" and
    "another". r = p / q; A: advantage.

    Args:
        terms: (B, T), dimensionless; gradient flows through `log r`.
        config: Options.

    Returns:
        (B, T), to be maximised.

    Source: DPPO (2602.04879), the binary variant; form, thresholds of 0.15 and cap as in verl 0.9.1 and its
    script, since the paper's own numbers could not be read. The paper measures against the sampler (anchor
    "behavior"). Ours: `log r` in place of `log pi`, which moves the value by a constant.
    """
    change = terms.anchor_log_probs.exp() * terms.ratios.deviation.detach()
    # Written so that a token of an unknown anchor, where the change is NaN, stays in.
    beyond = torch.where(terms.gain > 0, change > config.tv_high, change < -config.tv_low)
    weight = torch.where(beyond, 0.0, terms.ratio.detach().clamp(max=config.ratio_cap))
    return weight * terms.gain * terms.ratios.log_ratio


dppo_tv_loss = loss_of(dppo_tv_surrogate, DppoTvConfig())
