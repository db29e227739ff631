"""Result types of the core: sums that are divided once, ratios, and the output of an objective."""

from dataclasses import dataclass, replace
from functools import cached_property
from typing import ClassVar, Self

import torch
from torch import Tensor

from r2vpo.core.masking import masked_sum


@dataclass(frozen=True)
class WeightedSums:
    """A weighted mean that has not been divided yet: `value = numerator / denominator`.

    The mean over several micro-batches or processes is the ratio of the *sums*; the mean of their means differs from it
    whenever their weights differ. So the two sums are passed on, added up, and divided once.

    Attributes:
        numerator: 0-d, detached.
        denominator: 0-d, detached, not negative.
    """

    numerator: Tensor
    denominator: Tensor

    def __add__(self, other: Self) -> Self:
        return type(self)(self.numerator + other.numerator, self.denominator + other.denominator)

    @classmethod
    def zero(cls, device: torch.device | str | None = None) -> Self:
        """Return the sums over nothing, the neutral element of addition.

        Args:
            device: Where the two 0-d tensors live.

        Returns:
            Sums of 0 over 0, in float32.
        """
        return cls(torch.zeros((), device=device), torch.zeros((), device=device))

    def to_tensor(self) -> Tensor:
        """Stack both sums into one tensor, ready for a single all-reduce.

        Returns:
            (2,): numerator, denominator.
        """
        return torch.stack((self.numerator, self.denominator))

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> Self:
        """Rebuild sums from the result of `to_tensor`.

        Args:
            tensor: (2,): numerator, denominator.

        Returns:
            The sums.

        Raises:
            ValueError: The tensor has the wrong shape.
        """
        if tensor.shape != (2,):
            raise ValueError(f"tensor has shape {tuple(tensor.shape)}, but must be (2,): pass what to_tensor gave")
        return cls(tensor[0], tensor[1])

    def value(self) -> Tensor:
        """Compute the weighted mean.

        Returns:
            0-d: `numerator / denominator`, or 0 if the denominator is 0 (nothing was measured).
        """
        return torch.where(self.denominator > 0, self.numerator / self.denominator, 0.0)


@dataclass(frozen=True)
class RatioVarianceSums(WeightedSums):
    """The sums of the ratio variance `V = sum(m w (r - 1)^2) / sum(m w)`.

    `m` is the response mask, `w` the stale weight, `r` the ratio that the objective constrains.
    Dimensionless.
    """


@dataclass(frozen=True)
class DecisionVarianceSums(WeightedSums):
    """The sums of the ratio variance per decision, `V_d = sum(m w (r - 1)^2) / sum(m w (1 - p + 0.001))`.

    `p` is the probability of the sampled token under the anchor policy; the other symbols are those of
    `RatioVarianceSums`. V_d estimates the mean squared movement of a logit; see `r2vpo.core.ratios.decisions`.
    Dimensionless.
    """


@dataclass(frozen=True)
class MovementSums(WeightedSums):
    """The sums of the mean squared movement of a logit, `2 sum(m w (r - 1 - log r)) / sum(m w (1 - p + 0.001))`.

    Symbols as in `DecisionVarianceSums`; see `r2vpo.core.ratios.logit_movement`. Dimensionless.
    """


@dataclass(frozen=True)
class KLSums(WeightedSums):
    """The sums of `sum(m w (r - 1 - log r)) / sum(m w)`, an estimate of KL(anchor || current).

    Symbols as in `RatioVarianceSums`; nats per token.
    """


@dataclass(frozen=True)
class MomentSums(WeightedSums):
    """The sums of the second moment of the advantages per decision, `sum(m w A^2) / sum(m w (1 - p + 0.001))`.

    It determines the closed-form multiplier, `lambda* = sqrt(moment / target) / 2`, at which V_d reaches its target.
    Symbols as in `DecisionVarianceSums`.
    """


@dataclass(frozen=True)
class Ratios:
    """The ratios of the current policy to an anchor, with the weight of each token.

    Attributes:
        log_ratio: `log r`, clamped, (B, T), or (B, 1) at level "response", nats; carries the gradient of `log_probs`;
            0 on padding for (B, T).
        ratio_minus_1: `r - 1`, dimensionless; same shape, also with gradient. It is kept instead of the ratio because
            near 1 it is exact, while `exp(x) - 1` suffers from cancellation.
        stale_weight: `w`, (B, T), detached, 0 on padding; None if it is 1 everywhere.
        anchor_log_probs: (B, T) nats, detached. Not finite where the sampler's are not; may hold anything on padding.
        decisions: `1 - p + 0.001` under the anchor, (B, T), detached, 0 on padding, unweighted; see
            `r2vpo.core.ratios.decisions`.
        non_finite: (B, T) bool, response tokens whose `rollout_log_probs` was not finite.
        response_mask: (B, T) bool.
        single: Whether every response is known to be a single token without padding (`r2vpo.core.single_ratios`).
    """

    log_ratio: Tensor
    ratio_minus_1: Tensor
    stale_weight: Tensor | None
    anchor_log_probs: Tensor
    decisions: Tensor
    non_finite: Tensor
    response_mask: Tensor
    single: ClassVar[bool] = False

    def detach(self) -> Self:
        """Return the same ratios without their gradient."""
        return replace(self, log_ratio=self.log_ratio.detach(), ratio_minus_1=self.ratio_minus_1.detach())

    def kl(self) -> Tensor:
        """Compute `r - 1 - log r`, whose weighted mean estimates KL(anchor || current); never negative.

        Its gradient in log pi is `r - 1`, an unbiased estimate of the divergence's gradient under the anchor.

        Returns:
            Same shape as the ratio, nats; gradient flows.

        Source: J. Schulman, Approximating KL Divergence (2020), the estimator k3.
        """
        return self.ratio_minus_1 - self.log_ratio

    def weight(self) -> Tensor:
        """Return `m w`: the stale weight, or 1 on response tokens where it is None; (B, T)."""
        return self.response_mask.to(self.log_ratio.dtype) if self.stale_weight is None else self.stale_weight

    @cached_property
    def weight_sum(self) -> Tensor:
        """`sum(m w)`; 0-d."""
        count = self.response_mask if self.stale_weight is None else self.stale_weight
        return count.sum().to(self.log_ratio.dtype)

    def weighted_sum(self, values: Tensor) -> Tensor:
        """Compute `sum(m w x)`.

        Args:
            values: x, finite, broadcastable to (B, T).

        Returns:
            0-d, detached.
        """
        if self.stale_weight is None:
            return masked_sum(values.detach(), self.response_mask)
        return (self.stale_weight * values.detach()).sum()

    @cached_property
    def decision_sum(self) -> Tensor:
        """`sum(m w (1 - p + 0.001))`; 0-d."""
        return self.weighted_sum(self.decisions)

    @cached_property
    def squared_sum(self) -> Tensor:
        """`sum(m w (r - 1)^2)`; 0-d, detached."""
        return self.weighted_sum(self.ratio_minus_1.detach().square())

    def variance_sums(self) -> RatioVarianceSums:
        """Compute the sums of `V` over this batch."""
        return RatioVarianceSums(self.squared_sum, self.weight_sum)

    def decision_sums(self) -> DecisionVarianceSums:
        """Compute the sums of `V_d` over this batch."""
        return DecisionVarianceSums(self.squared_sum, self.decision_sum)

    def kl_sums(self) -> KLSums:
        """Compute the sums of the estimate of KL(anchor || current) over this batch."""
        return KLSums(self.weighted_sum(self.kl()), self.weight_sum)

    def movement_sums(self) -> MovementSums:
        """Compute the sums of the mean squared movement of a logit; see `r2vpo.core.ratios.logit_movement`."""
        logs = self.log_ratio.detach()
        # For a small log-ratio x, expm1(x) - x is mostly rounding error; its series is x^2 (1 + x / 3 + x^2 / 12) / 2.
        series = logs.square() * (1.0 + logs / 3.0 + logs.square() / 12.0)
        moved = torch.where(logs.abs() < 0.01, series, 2.0 * self.kl().detach())
        return MovementSums(self.weighted_sum(moved), self.decision_sum)


@dataclass(frozen=True)
class LossOutput:
    """What every objective returns.

    Attributes:
        loss: 0-d, to be minimised; gradient flows into `log_probs` only.
        metrics: Detached 0-d tensors, never floats: a float would wait for the device.
        constraint: The sums of what this objective constrains, for `DualController`; those of V_d if it constrains
            nothing.
        ratios: The ratios that the objective constrains, detached, for the diagnostics.
        proximal: The ratios of the same tokens to the policy at the round's start, at level "token" and with the stale
            weights of that level, detached, for step control; the same as `ratios` with the default anchor and level.
        advantages: `A`, (B, 1) or (B, T), detached.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    constraint: WeightedSums
    ratios: Ratios
    proximal: Ratios
    advantages: Tensor
