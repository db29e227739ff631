"""The common part of all objectives: their signature, and the step from per-token terms to a loss.

An objective is a frozen config and a *surrogate*: a function from `Terms` to one number per token, to be maximised.
`loss_of` turns it into a loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from r2vpo.core.aggregation import aggregate
from r2vpo.core.masking import masked_sum, token_advantages
from r2vpo.core.objective_config import ObjectiveConfig, SurrogateConfig
from r2vpo.core.ratios import LOG_RATIO_BOUND, anchored_ratios
from r2vpo.core.types import KLSums, LossOutput, Ratios, WeightedSums
from r2vpo.core.validation import check_loss_inputs, check_number


@dataclass(frozen=True)
class Terms:
    """The inputs of a surrogate, named by the symbols of docs/objective.md.

    Attributes:
        ratios: Ratios to the anchor; the only part that carries gradient.
        A: Advantages, (B, 1) or (B, T), detached, 0 on padding for (B, T).
        dual: `lambda`, the multiplier, 0-d, detached; 0 if the config has no constraint.
    """

    ratios: Ratios
    A: Tensor
    dual: Tensor

    @property
    def r(self) -> Tensor:
        """The ratio, (B, T) or (B, 1); gradient flows."""
        return self.ratios.ratio_minus_1 + 1.0

    @property
    def r_minus_1(self) -> Tensor:
        """`r - 1`, without cancellation near 1; gradient flows."""
        return self.ratios.ratio_minus_1

    @property
    def log_r(self) -> Tensor:
        """`log r`, nats, within +-20; gradient flows."""
        return self.ratios.log_ratio

    @property
    def log_W(self) -> Tensor:
        """The log of the ratio of the whole response, the sum over its tokens, at level "token".

        (B, 1) nats, detached, clamped to +-20.
        """
        total = masked_sum(self.log_r.detach(), self.ratios.response_mask, dim=1).unsqueeze(1)
        return total.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


class Loss(Protocol):
    """The signature of all objectives; `config` is an instance of the objective's config class."""

    def __call__(
        self,
        *,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        dual: float | Tensor | None = None,
        rollout_log_probs: Tensor | None = None,
        config: Any = ...,
        normalizer: float | Tensor | None = None,
        decisions: Tensor | None = None,
    ) -> LossOutput:
        """Compute `loss = -aggregate(w s)`, with surrogate s and stale weight w.

        With `ratio_variance_delta`, it is `-aggregate(w (s - lambda (r - 1)^2))`.

        Args:
            log_probs: (B, T) nats, current policy; the only input that gradient flows to.
            old_log_probs: (B, T) nats, the trainer's at the start of the round.
            advantages: (B,) or (B, T), dimensionless.
            response_mask: (B, T) bool; elsewhere every tensor may hold anything.
            dual: lambda, the multiplier, not negative, dimensionless; a tensor is not checked, to avoid waiting for the
                device. Ignored by an objective without a constraint.
            rollout_log_probs: (B, T) nats, the sampler's; None: w = 1. A token where it is not finite gets log-ratio 0
                and is counted in `metrics["non_finite_log_probs"]`.
            config: Options.
            normalizer: Global denominator (see `aggregate`); None for this batch's own.
            decisions: (B, T), number of decisions of each token, not negative, for actions that are not tokens of a
                vocabulary; None for `1 - p + 0.001`, see `r2vpo.core.ratios.decisions`. It changes what is measured and
                constrained, never the gradient.

        Returns:
            The loss; metrics `ratio_variance`, `non_finite_log_probs` and, with a constraint, `dual`; the sums of the
            constrained quantity, or of V_d without a constraint; the ratios. Means of metrics over micro-batches of
            different sizes differ from the whole batch's: add the sums up instead.

        Raises:
            ValueError: A shape is wrong, the mask is not bool, a constraint has no multiplier or a negative one, anchor
                "behavior" comes without `rollout_log_probs`, or the normalizer is not positive.
        """


def loss_of(
    surrogate: Callable[[Terms, Any], Tensor],
    default: ObjectiveConfig,
    *,
    constrained: Callable[[Ratios], WeightedSums] = Ratios.decision_sums,
) -> Loss:
    """Make the loss of a surrogate.

    Args:
        surrogate: Function from terms and config to one number per token, to be maximised: (B, T) or (B, 1); padding
            may hold anything.
        default: The config with default options.
        constrained: Function from the ratios to the sums of the quantity to which the config's `constraint_target`
            applies.

    Returns:
        The loss function, documented in `Loss`. Its attribute `of_ratios` computes the same from ratios that are known
        already (`r2vpo.core.single_ratios`), with lambda as the only metric.
    """

    def of_ratios(
        ratios: Ratios,
        proximal: Ratios | None,
        *,
        advantages: Tensor,
        dual: float | Tensor | None,
        config: Any,
        normalizer: float | Tensor | None = None,
    ) -> LossOutput:
        # The metrics other than lambda are left to `loss`: a caller that has the ratios already may not need them.
        A = token_advantages(advantages, ratios.response_mask).to(ratios.log_ratio.dtype)
        is_constrained = config.constraint_target is not None
        terms = Terms(ratios, A, multiplier(dual, like=A) if is_constrained else A.new_zeros(()))
        objective = surrogate(terms, config)
        if isinstance(config, SurrogateConfig) and config.ratio_variance_delta is not None:
            objective = objective - terms.dual * terms.r_minus_1.square()
        if ratios.stale_weight is not None:
            objective = ratios.stale_weight * objective
        value = -aggregate(
            objective,
            ratios.response_mask,
            aggregation=config.aggregation,
            normalizer=normalizer,
            constant=config.constant,
            single=ratios.single,
        )
        detached = ratios.detach()
        metrics = {"dual": terms.dual} if is_constrained else {}
        return LossOutput(value, metrics, constrained(detached), detached, proximal or detached, A)

    def loss(
        *,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        dual: float | Tensor | None = None,
        rollout_log_probs: Tensor | None = None,
        config: Any = default,
        normalizer: float | Tensor | None = None,
        decisions: Tensor | None = None,
    ) -> LossOutput:
        check_loss_inputs(log_probs, old_log_probs, advantages, response_mask, rollout_log_probs, decisions)
        ratios, proximal = anchored_ratios(
            log_probs=log_probs,
            old_log_probs=old_log_probs,
            response_mask=response_mask,
            rollout_log_probs=rollout_log_probs,
            options=config,
            decisions=decisions,
        )
        output = of_ratios(ratios, proximal, advantages=advantages, dual=dual, config=config, normalizer=normalizer)
        output.metrics["ratio_variance"] = output.ratios.variance_sums().value()
        output.metrics["non_finite_log_probs"] = output.ratios.non_finite.sum()
        if isinstance(output.constraint, KLSums):
            output.metrics["kl"] = output.constraint.value()
        return output

    loss.__name__ = loss.__qualname__ = surrogate.__name__.replace("surrogate", "loss")
    loss.__module__ = surrogate.__module__
    loss.of_ratios = of_ratios  # type: ignore[attr-defined]
    loss.__doc__ = f"{surrogate.__doc__}\n\n    As a loss: {Loss.__call__.__doc__}"
    return loss


def by_sign(positive: Tensor, value: float, otherwise: float, *, like: Tensor) -> Tensor:
    """Choose one number where a condition holds and another elsewhere, in the precision of `like`.

    Args:
        positive: Bool, of any shape.
        value: The number where it holds.
        otherwise: The number elsewhere.
        like: Gives device and dtype. (Two Python numbers would be rounded to float32.)

    Returns:
        Same shape as the condition.
    """
    return torch.where(positive, like.new_full((), value), like.new_full((), otherwise))


def multiplier(dual: float | Tensor | None, like: Tensor) -> Tensor:
    """Convert the multiplier to a detached 0-d tensor.

    Args:
        dual: A number, which is checked, or a 0-d tensor, which is not checked, to avoid waiting for the device.
        like: Gives device and dtype.

    Returns:
        0-d.

    Raises:
        ValueError: The multiplier is None, negative or not finite.
    """
    if isinstance(dual, Tensor):
        return dual.detach().to(like)
    remedy = "use DualController's value, or 0 for no penalty"
    if dual is None:
        raise ValueError(f"dual is None, but the config has a constraint, so it must be a number, at least 0: {remedy}")
    check_number("dual", dual, at_least=0, remedy=remedy)
    # The number is filled in on the device, because copying it there would wait for the device.
    return like.new_full((), dual)
