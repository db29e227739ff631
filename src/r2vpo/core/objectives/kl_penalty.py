"""PPO's second form: a penalty on the KL divergence from the anchor, with an adaptive coefficient."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from r2vpo.core.declaration import option
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of
from r2vpo.core.types import Ratios


@dataclass(frozen=True, kw_only=True)
class KLPenaltyConfig(ObjectiveConfig):
    """Options of `kl_penalty_loss`, in addition to those of `ObjectiveConfig`.

    The multiplier is "fixed" or found by "doubling", PPO's rule; the closed form and the bounds of the ascent apply
    only to the ratio variance.
    """

    kl_target: float = option(
        0.01,
        "target of KL(anchor || current), nats per token; it acts only through the multiplier, which aims at it",
        above=0,
    )

    dual_kinds: ClassVar[tuple[str, ...]] = ("doubling", "fixed")

    @property
    def constraint_target(self) -> float | None:
        """`kl_target`."""
        return self.kl_target


def kl_penalty_surrogate(terms: Terms, config: KLPenaltyConfig) -> Tensor:
    """Compute `s = r A - lambda (r - 1 - log r)`.

    r: ratio to the anchor; A: advantage; lambda: the multiplier, `dual`. The gradient in log pi is
    `r A - lambda (r - 1)`.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: PPO (1707.06347) eq. 8, with the divergence of the policy at the round's start from the current one. The
    target of 0.01 is believed to be one of those that the paper tries; its table could not be checked again. Ours: the
    divergence is estimated from the sampled tokens (`Ratios.kl`), not summed over the vocabulary.
    """
    return terms.r * terms.A - terms.dual * terms.ratios.kl()


kl_penalty_loss = loss_of(kl_penalty_surrogate, KLPenaltyConfig(), constrained=Ratios.kl_sums)
