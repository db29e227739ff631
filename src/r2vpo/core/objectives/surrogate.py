"""The common part of all objectives: their signature, and the step from per-token terms to a loss.

An objective is a frozen config and a *surrogate*: a function from `Terms` to one number per token, to be maximised.
`loss_of` turns it into a loss.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from r2vpo.core.aggregation import aggregate
from r2vpo.core.masking import masked_sum, token_advantages
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.ratios import LOG_RATIO_BOUND, Ratios, anchored_ratios
from r2vpo.core.types import KLSums, LossOutput, WeightedSums
from r2vpo.core.validation import check_loss_inputs, check_number


@dataclass(frozen=True)
class Terms:
    """The inputs of a surrogate.

    Attributes:
        ratios: Ratios to the anchor; the only part that carries gradient.
        gain: A, (B, 1) or (B, T), detached, 0 on padding for (B, T).
        anchor_log_probs: (B, T) nats, detached, of the anchor policy. Not finite where the sampler's are not; may hold
            anything on padding.
        response_mask: (B, T) bool.
    """

    ratios: Ratios
    gain: Tensor
    anchor_log_probs: Tensor
    response_mask: Tensor

    @property
    def ratio(self) -> Tensor:
        """`r`, (B, T) or (B, 1); gradient flows."""
        return self.ratios.deviation + 1.0

    def response_log_ratio(self) -> Tensor:
        """Compute the log of the whole response's ratio, the sum over its tokens, at level "token".

        Returns:
            (B, 1) nats, detached, clamped to +-20.
        """
        total = masked_sum(self.ratios.log_ratio.detach(), self.response_mask, dim=1).unsqueeze(1)
        return total.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)


class SurrogateLoss(Protocol):
    """A loss made by `loss_of`."""

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
    ) -> LossOutput:
        """Compute `loss = -aggregate(w (s - dual p))`, with surrogate s, penalty p and stale weight w.

        Args:
            log_probs: (B, T) nats, current policy; the only input that gradient flows to.
            old_log_probs: (B, T) nats, the trainer's at the start of the round.
            advantages: (B,) or (B, T), dimensionless.
            response_mask: (B, T) bool; elsewhere every tensor may hold anything.
            dual: The multiplier, not negative, dimensionless; a tensor is not checked, to avoid waiting for the device.
                Ignored by an objective without a constraint.
            rollout_log_probs: (B, T) nats, the sampler's; None: w = 1. A token where it is not finite gets log-ratio 0
                and is counted in `metrics["non_finite_log_probs"]`.
            config: Options.
            normalizer: Global denominator (see `aggregate`); None for this batch's own.

        Returns:
            The loss; metrics `ratio_variance`, `non_finite_log_probs` and, with a constraint, `dual`; the sums of the
            constrained quantity, or of V_d without a constraint. Means of metrics over micro-batches of different sizes
            differ from the whole batch's: add the sums up instead.

        Raises:
            ValueError: A shape is wrong, the mask is not bool, a constraint has no multiplier or a negative one, anchor
                "behavior" comes without `rollout_log_probs`, or the normalizer is not positive.
        """


def kl_estimate(ratios: Ratios) -> Tensor:
    """Compute `r - 1 - log r`, whose weighted mean estimates KL(anchor || current); never negative.

    Its gradient in log pi is `r - 1`, an unbiased estimate of the divergence's gradient under the anchor.

    Args:
        ratios: The ratios.

    Returns:
        Same shape as the ratio, nats; gradient flows.

    Source: J. Schulman, Approximating KL Divergence (2020), the estimator k3.
    """
    return ratios.deviation - ratios.log_ratio


class Penalty(NamedTuple):
    """The quantity that a multiplier constrains.

    Attributes:
        metric: Name of its weighted mean in the metrics.
        per_token: Function from the ratios to one number per token; gradient flows.
    """

    metric: str
    per_token: Callable[[Ratios], Tensor]


RATIO_VARIANCE = Penalty("ratio_variance", lambda ratios: ratios.deviation.square())
KL = Penalty("kl", kl_estimate)


def loss_of(
    surrogate: Callable[[Terms, Any], Tensor],
    default: ObjectiveConfig,
    *,
    penalty: Penalty = RATIO_VARIANCE,
) -> SurrogateLoss:
    """Make the loss of a surrogate.

    Args:
        surrogate: Function from terms and config to one number per token, to be maximised: (B, T) or (B, 1); padding
            may hold anything.
        default: The config with default options.
        penalty: The quantity to which the config's `constraint_target` applies.

    Returns:
        The loss function, documented in `SurrogateLoss`.
    """

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
    ) -> LossOutput:
        check_loss_inputs(log_probs, old_log_probs, advantages, response_mask, rollout_log_probs)
        ratios = anchored_ratios(
            log_probs=log_probs,
            old_log_probs=old_log_probs,
            response_mask=response_mask,
            rollout_log_probs=rollout_log_probs,
            options=config,
        )
        gain = token_advantages(advantages, response_mask).to(ratios.deviation.dtype)
        anchor = rollout_log_probs if config.anchor == "behavior" else old_log_probs
        assert anchor is not None  # anchored_ratios has rejected it
        terms = Terms(ratios, gain, anchor.detach().to(ratios.deviation.dtype), response_mask)
        return finish(
            surrogate(terms, config), ratios, response_mask, config=config, dual=dual, normalizer=normalizer,
            penalty=penalty,
        )  # fmt: skip

    loss.__name__ = loss.__qualname__ = surrogate.__name__.replace("surrogate", "loss")
    loss.__module__ = surrogate.__module__
    loss.__doc__ = f"{surrogate.__doc__}\n\n    As a loss: {SurrogateLoss.__call__.__doc__}"
    return loss


def finish(
    objective: Tensor,
    ratios: Ratios,
    response_mask: Tensor,
    *,
    config: ObjectiveConfig,
    dual: float | Tensor | None,
    normalizer: float | Tensor | None,
    penalty: Penalty,
) -> LossOutput:
    """Compute `-aggregate(w (objective - dual penalty))`, metrics and sums.

    Args:
        objective: One number per token, (B, T) or (B, 1), not yet weighted.
        ratios: The ratios, which give the penalty and the stale weight.
        response_mask: (B, T) bool.
        config: Aggregation and target.
        dual: The multiplier.
        normalizer: Global denominator.
        penalty: What is constrained.

    Returns:
        The loss, as in `SurrogateLoss`.
    """
    weight = ratios.stale_weight
    sums: WeightedSums = ratios.decision_sums(response_mask)
    metrics = {
        "ratio_variance": ratios.variance_sums(response_mask).value(),
        "non_finite_log_probs": ratios.non_finite,
    }
    if config.constraint_target is not None:
        lagrange = multiplier(dual, objective)
        distance = penalty.per_token(ratios)
        objective = objective - lagrange * distance
        metrics["dual"] = lagrange
        if penalty is KL:
            sums = _kl_sums(distance.detach(), weight, response_mask)
            metrics[penalty.metric] = sums.value()
    if weight is not None:
        objective = weight * objective
    loss = -aggregate(
        objective,
        response_mask,
        aggregation=config.aggregation,
        normalizer=normalizer,
        constant=config.constant,
    )
    return LossOutput(loss=loss, metrics=metrics, constraint=sums)


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


def _kl_sums(distance: Tensor, weight: Tensor | None, response_mask: Tensor) -> KLSums:
    if weight is None:
        return KLSums(masked_sum(distance, response_mask), response_mask.sum().to(distance.dtype))
    return KLSums((weight * distance).sum(), weight.sum())
