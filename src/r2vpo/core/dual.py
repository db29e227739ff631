"""The Lagrange multiplier `lambda` of a constraint: closed form, dual ascent, PPO's doubling, or fixed."""

import math
from typing import Any

from torch import Tensor

from r2vpo.core.masking import masked_sum, token_advantages
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.options import DualOptions
from r2vpo.core.radius import DELTA
from r2vpo.core.ratios import decisions as decisions_of
from r2vpo.core.ratios import stale_weight
from r2vpo.core.types import MomentSums, WeightedSums

DOUBLING_FIRST = 1.0
"""Initial multiplier of "doubling" when no value is given; PPO calls the choice unimportant."""

DOUBLING_LIMIT = 1e6
"""Largest multiplier of "doubling" when no upper bound is given; doubling without a limit would overflow."""


def closed_form_dual(second_moment: float, target: float) -> float:
    """Compute the multiplier at which the maximiser of the Lagrangian has a ratio variance per decision of `target`.

    `lambda* = sqrt(M / target) / 2` with `M = sum(w A^2) / sum(w (1 - p))`, the minimum of the dual function
    `E[A] + E[A^2] / (4 lambda) + lambda target E[1 - p]`.

    Args:
        second_moment: M, weighted like V_d.
        target: Target of the ratio variance per decision, above 0.

    Returns:
        `lambda*`, dimensionless.
    """
    return math.sqrt(second_moment / target) / 2.0


def advantage_moments(
    advantages: Tensor,
    response_mask: Tensor,
    anchor_log_probs: Tensor,
    stale_weight: Tensor | None = None,
    level: str = "token",
    decisions: Tensor | None = None,
) -> MomentSums:
    """Sum the second moment of the advantages per decision, for `DualController.begin_round`.

    At level "response" the tokens of a response share one ratio, for which only the mean of their advantages counts:
    `sum_t(r A_t - lambda (r - 1)^2)` is largest at `r = 1 + mean_t(A_t) / (2 lambda)`.

    Args:
        advantages: (B,) or (B, T), dimensionless.
        response_mask: (B, T) bool.
        anchor_log_probs: (B, T) nats, of the anchor policy, the denominator of the ratio.
        stale_weight: (B, T), 0 outside the mask; None for 1 everywhere.
        level: Level of the ratio, "token" or "response".
        decisions: (B, T), number of decisions of each token; None for `1 - p + 0.001`.

    Returns:
        Detached sums.
    """
    of_ratios = token_advantages(advantages, response_mask)
    if level == "response" and advantages.dim() == 2:
        of_ratios = of_ratios.sum(dim=1, keepdim=True) / response_mask.sum(dim=1, keepdim=True).clamp(min=1)
    squared = of_ratios.square()
    weight = response_mask.to(squared.dtype) if stale_weight is None else stale_weight
    decided = decisions_of(anchor_log_probs, response_mask, level, decisions)
    return MomentSums(masked_sum(weight * squared, response_mask), (weight * decided).sum())


def objective_moments(
    config: ObjectiveConfig,
    *,
    advantages: Tensor,
    response_mask: Tensor,
    old_log_probs: Tensor,
    rollout_log_probs: Tensor | None = None,
    decisions: Tensor | None = None,
) -> MomentSums:
    """Sum the second moment of the advantages per decision, with the ratio and the weights that an objective has.

    `M = sum(m w A^2) / sum(m w (1 - p + 0.001))`, at level "response" with the mean A of a response's tokens and their
    `(1 - p + 0.001) / n`. Under the anchor "proximal", w is the stale weight and p the
    probability under the policy at the round's start; under "behavior", w is 1 and p is the sampler's.

    Args:
        config: The objective's anchor, level and cap.
        advantages: (B,) or (B, T), dimensionless.
        response_mask: (B, T) bool.
        old_log_probs: (B, T) nats, the trainer's at the start of the round.
        rollout_log_probs: (B, T) nats, the sampler's; None if they are the trainer's.
        decisions: (B, T), number of decisions of each token; None for `1 - p + 0.001`.

    Returns:
        Detached sums.
    """
    sampled = old_log_probs if rollout_log_probs is None else rollout_log_probs
    if config.anchor == "behavior":
        return advantage_moments(advantages, response_mask, sampled, None, config.level, decisions)
    weight = stale_weight(old_log_probs, rollout_log_probs, response_mask, config.stale_weight_cap, config.level)
    return advantage_moments(advantages, response_mask, old_log_probs, weight, config.level, decisions)


class DualController:
    """Controller of the multiplier, which it updates once per optimizer step or once per round.

    The target of the ratio variance per decision is the round's trust radius (`r2vpo.core.radius`); the target of a
    divergence is delta itself.

    Ascent: `lambda <- clip(lambda exp(eta clip(V_d / target - 1, -1, 1)), lower, upper)`. The step is multiplicative:
    lambda stays positive, and its speed depends neither on the scale of the reward nor on delta. Its initial value is
    `lambda*` of the first batch.

    Doubling: at the start of a round, `lambda <- 2 lambda` if V_d at the last optimizer step of the previous round was
    above 1.5 times that round's target, `lambda / 2` if it was below the target divided by 1.5. V_d here means whatever
    the objective constrains. It does not yet include that step's own movement; with one step per round and no stale
    rows it is 0, and lambda falls to `lower`.

    Args:
        options: The options; None uses their defaults.
        delta: Target of the constrained quantity, the objective's `constraint_target`, above 0: either of the ratio
            variance per decision, per informative rollout of a round, dimensionless, or of a KL divergence, in nats.
            "ascent" and "closed_form" work only for the ratio variance, since `lambda*` is derived from it.

    Attributes:
        options: The options.
        target: The target of this round; delta before the first round.
        value: The current multiplier. Before the first round it is `lambda*` for advantages of variance 1, or 1 with
            "doubling".

    Source: doubling is PPO's (1707.06347, section 4); the ascent is ours.
    """

    def __init__(self, options: DualOptions | None = None, *, delta: float = DELTA) -> None:
        self.options = DualOptions() if options is None else options
        self._delta = delta
        doubling = self.options.kind == "doubling"
        unbounded = DOUBLING_LIMIT if doubling else math.inf
        self._ceiling = unbounded if self.options.upper is None else self.options.upper
        self._started = self.options.value is not None
        self._measured: float | None = None
        self.target: float = delta
        first = self.options.value
        if first is None:
            first = DOUBLING_FIRST if doubling else closed_form_dual(1.0, delta)
        self.value: float = first if self.options.kind == "fixed" else self._bounded(first)

    def begin_round(self, advantage_sums: MomentSums, target: float | None = None) -> float:
        """Start a round: `lambda*` of its batch sets the initial value, the ceiling, or (closed form) the value.

        A batch without signal (all advantages 0, or no tokens) has no `lambda*` and changes nothing. With "doubling"
        the batch is ignored, and the measurement of the last round moves the value.

        Args:
            advantage_sums: The result of `advantage_moments`, over all processes.
            target: The target of this round, above 0; None for delta itself.

        Returns:
            The multiplier for the round's first optimizer step.
        """
        before, self.target = self.target, self._delta if target is None else target
        if self.options.kind == "doubling":
            return self._double_or_halve(before)
        moment = float(advantage_sums.value())
        if self.options.kind == "fixed" or not math.isfinite(moment) or moment <= 0:
            return self.value
        optimum = closed_form_dual(moment, self.target)
        if self.options.upper is None:
            self._ceiling = optimum
        if self.options.kind == "closed_form" or not self._started:
            self.value = optimum
        self._started = True
        self.value = self._bounded(self.value)
        return self.value

    def update(self, sums: WeightedSums) -> float:
        """Make one ascent step; "doubling" only records the measurement, and the other kinds do not change.

        Args:
            sums: `LossOutput.constraint` of one optimizer step, added up over its micro-batches and processes. A
                denominator of 0 means that nothing was measured, and nothing changes; a value that is not finite is
                treated as far too large.

        Returns:
            The multiplier for the next optimizer step.
        """
        return self.follow(*sums.to_tensor().tolist())

    def follow(self, numerator: float, denominator: float) -> float:
        """Do as `update` does, given the two sums as numbers, without waiting for a device."""
        if denominator == 0:
            return self.value
        variance = numerator / denominator if math.isfinite(numerator / denominator) else math.inf
        self._measured = variance
        if self.options.kind != "ascent":
            return self.value
        excess = variance / self.target - 1.0
        self.value = self._bounded(self.value * math.exp(self.options.eta * min(1.0, max(-1.0, excess))))
        return self.value

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to continue with the same multipliers.

        Returns:
            Plain numbers.
        """
        return {
            "value": self.value,
            "ceiling": self._ceiling,
            "started": self._started,
            "measured": self._measured,
            "target": self.target,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a saved state. This controller keeps its own options; "fixed" also keeps its own value.

        Args:
            state: The result of `state_dict`.

        Raises:
            ValueError: A key is missing.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"state of the multiplier lacks {', '.join(missing)}: load what state_dict() gave")
        if self.options.kind == "fixed":
            return
        # Doubling takes no ceiling from a batch, and would keep the ceiling of another kind permanently.
        if self.options.upper is None and self.options.kind != "doubling":
            self._ceiling = float(state["ceiling"])
        self._started = bool(state["started"])
        self._measured, self.target = state["measured"], float(state["target"])
        self.value = self._bounded(float(state["value"]))

    def _double_or_halve(self, target: float) -> float:
        if self._measured is not None:
            if self._measured > 1.5 * target:
                self.value = self._bounded(2.0 * self.value)
            elif self._measured < target / 1.5:
                self.value = self._bounded(self.value / 2.0)
        self._measured = None
        return self.value

    def _bounded(self, value: float) -> float:
        # The floor wins over a ceiling below it (advantages of almost no variance), so that some brake remains.
        return max(self.options.lower, min(value, self._ceiling))
