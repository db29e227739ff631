"""SAPO: a sigmoid gate in place of the clip."""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.objectives.options import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, by_sign, loss_of
from r2vpo.core.validation import check_number


@dataclass(frozen=True, kw_only=True)
class SapoConfig(SurrogateConfig):
    """Options of `sapo_loss`, beside those of `SurrogateConfig`.

    Attributes:
        tau_positive: Sharpness of the gate where the advantage is positive; dimensionless, above 0.
        tau_negative: Sharpness elsewhere; larger damps tokens of negative advantage faster.
        aggregation: "sequence_mean", as in the paper.

    Raises:
        ValueError: When built with a value out of its bounds.
    """

    aggregation: str = "sequence_mean"
    tau_positive: float = 1.0
    tau_negative: float = 1.05

    def __post_init__(self) -> None:
        super().__post_init__()
        check_number("tau_positive", self.tau_positive, above=0, remedy="take a sharpness, as 1")
        check_number("tau_negative", self.tau_negative, above=0, remedy="take a sharpness, as 1.05")


def sapo_surrogate(terms: Terms, config: SapoConfig) -> Tensor:
    """`s = 4 / tau sigmoid(tau (r - 1)) A`, tau by the sign of A.

    r: ratio to the anchor; A: advantage. The gradient in log pi is `4 p (1 - p) r A`, p the sigmoid: `r A` at
    `r = 1`, fading on both sides.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: SAPO (2511.20347), with its temperatures.
    """
    tau = by_sign(terms.gain > 0, config.tau_positive, config.tau_negative, like=terms.gain)
    return torch.sigmoid(tau * terms.ratios.deviation) * (4.0 / tau) * terms.gain


sapo_loss = loss_of(sapo_surrogate, SapoConfig())
