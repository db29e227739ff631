"""Result types of the core: sums that are divided once, and the output of an objective."""

from dataclasses import dataclass
from typing import Any, Protocol, Self

import torch
from torch import Tensor


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
class LossOutput:
    """What every objective returns.

    Attributes:
        loss: 0-d, to be minimised; gradient flows into `log_probs` only.
        metrics: Detached 0-d tensors, never floats: a float would wait for the device.
        constraint: The sums of what this objective constrains, for `DualController`; those of V_d if it constrains
            nothing.
    """

    loss: Tensor
    metrics: dict[str, Tensor]
    constraint: WeightedSums


class Loss(Protocol):
    """The common signature of all objectives; `config` is an instance of the objective's config class."""

    def __call__(
        self,
        *,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        response_mask: Tensor,
        dual: float | Tensor,
        rollout_log_probs: Tensor | None = None,
        config: Any = ...,
        normalizer: float | Tensor | None = None,
    ) -> LossOutput:
        """Compute the loss."""
