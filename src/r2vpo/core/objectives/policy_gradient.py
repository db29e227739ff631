"""The importance-weighted policy gradient, without any constraint."""

from dataclasses import dataclass

from torch import Tensor

from r2vpo.core.objective_config import SurrogateConfig
from r2vpo.core.objectives.surrogate import Terms, loss_of


@dataclass(frozen=True, kw_only=True)
class PolicyGradientConfig(SurrogateConfig):
    """Options of `policy_gradient_loss`: those of `SurrogateConfig`.

    With `ratio_variance_delta` it is `r2vpo_loss` with the brake "two_sided".
    """


def policy_gradient_surrogate(terms: Terms, config: PolicyGradientConfig) -> Tensor:
    """Compute `s = r A`, with r the ratio to the anchor and A the advantage.

    Args:
        terms: (B, T), dimensionless; gradient flows through the ratio.
        config: Options.

    Returns:
        (B, T) or (B, 1), to be maximised.

    Source: the surrogate of TRPO (1502.05477) eq. 14 and of PPO (1707.06347) eq. 6.
    """
    return terms.r * terms.A


policy_gradient_loss = loss_of(policy_gradient_surrogate, PolicyGradientConfig())
