"""SPO: the policy gradient with a quadratic penalty that grows with each token's own advantage."""

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class SpoConfig(SurrogateConfig):
    """Options of `spo_loss`, in addition to those of `SurrogateConfig`."""

    epsilon: float = option(0.2, "distance of the ratio from 1 at which a token's objective is largest", above=0)


def spo_surrogate(terms: Terms, config: SpoConfig) -> Tensor:
    """Compute `s = r A - |A| (r - 1)^2 / (2 epsilon)`, which is largest at `r = 1 + sign(A) epsilon`.

    r: ratio to the anchor; A: advantage. This is the ratio-variance penalty with a separate multiplier for each token,
    `|A| / (2 epsilon)`.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: SPO (2401.16025) and its authors' code, whose epsilon of 0.2 is the default.
    """
    A, r_minus_1 = terms.A, terms.r_minus_1
    # A + (r - 1) (A - |A| (r - 1) / (2 epsilon)): fewer passes over the tokens.
    return torch.addcmul(A, r_minus_1, A - A.abs() * r_minus_1 / (2.0 * config.epsilon))


spo_loss = loss_of(spo_surrogate, SpoConfig())
