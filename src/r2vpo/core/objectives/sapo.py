"""SAPO: a sigmoid gate in place of the clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.declaration import option, same_as
from r2vpo.core.objective_config import Aggregation, SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, by_sign, loss_of


@dataclass(frozen=True, kw_only=True)
class SapoConfig(SurrogateConfig):
    """Options of `sapo_loss`, in addition to those of `SurrogateConfig`; aggregation "sequence_mean" is the paper's."""

    aggregation: Aggregation = same_as(SurrogateConfig, "aggregation", "sequence_mean")
    tau_positive: float = option(1.0, "sharpness of the gate where the advantage is positive", above=0)
    tau_negative: float = option(1.05, "sharpness elsewhere; larger damps tokens of negative advantage faster", above=0)


def sapo_surrogate(terms: Terms, config: SapoConfig) -> Tensor:
    """Compute `s = 4 / tau sigmoid(tau (r - 1)) A`, with tau chosen by the sign of A.

    r: ratio to the anchor; A: advantage. The gradient in log pi is `4 h (1 - h) r A`, with h the sigmoid: `r A` at `r =
    1`, fading on both sides.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: SAPO (2511.20347), with its temperatures.
    """
    A = terms.A
    tau = by_sign(A > 0, config.tau_positive, config.tau_negative, like=A)
    return torch.sigmoid(tau * terms.r_minus_1) * (4.0 / tau) * A


sapo_loss = loss_of(sapo_surrogate, SapoConfig())
