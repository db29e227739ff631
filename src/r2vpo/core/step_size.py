"""Step size that follows the ratio variance per decision, so that no learning rate has to be set."""

from __future__ import annotations

import math
from typing import Any

from r2vpo.core.options import StepControlOptions
from r2vpo.core.radius import DELTA
from r2vpo.core.rate_hooks import ScaledSteps
from r2vpo.core.ratios import LOG_RATIO_BOUND
from r2vpo.core.types import MovementSums
from r2vpo.core.validation import check_number

OUTLIER = 10.0
"""A measured curvature counts for at most this many times the average of the rounds before it."""
SLACK = 4.0
"""Within a round, a step is braked if the movement is more than this many times the round's target; the margin is wide
because the V_d of a single step is measured on few decisions."""


class StepSizeController(ScaledSteps):
    """Controller that scales the learning rate of a torch optimizer so that V_d of a round reaches its target T.

    T is passed to `begin_round` or to `aim` (`r2vpo.core.radius`). The controller measures m, the mean squared movement
    of a logit (`r2vpo.core.ratios.logit_movement`), at which `V_d = exp(m) - 1`. m grows with the square of the
    distance D from the round's start, which is the sum of the steps' factors on the learning rate. So a single number
    has to be known, the curvature `m / D^2`, and it gives the scale at which the k steps of a round reach the target:

        scale = sqrt(log(1 + T) / C) / k,    C = average of m / D^2 over the rounds so far

    The average weighs a round with `q^2 d memory^age`. q, at most 1, is the share of the round's distance that its last
    measurement has covered; d is the number of decisions that it was measured on, `sum(w (1 - p))`. It is a long
    average, since a round has few decisions when the policy is certain of most tokens, and one round counts for at most
    `OUTLIER` times the average before it. While nothing else is known, only the first measurement of the first round
    counts, and the scale grows from `first_scale` by a factor of at most `grow` per step.

    Within a round the brake acts at once: while m is above `SLACK log(1 + T)`, the factor of a step is the scale times
    `SLACK log(1 + T) / m`. The next round starts with the scale. Steps of a second pass only brake: rows move further
    than others once they have been trained on.

    Under Adam a penalty changes the direction of the update but not its length, so the brake has to act on the step
    size.

    The factor is applied only inside `optimizer.step()` (`ScaledSteps`). A learning-rate schedule still applies on top:
    D counts a step in proportion to its `lr` over the highest rate of the schedule.

    Attributes:
        options: The options.
        scale: The current factor of the learning rate, without the brake.
        target: T, the V_d that this round aims at; `DELTA` before the first round.
    """

    def __init__(self, options: StepControlOptions | None = None) -> None:
        super().__init__()
        self.options = StepControlOptions() if options is None else options
        self.scale: float = self.options.first_scale
        # Of earlier rounds: the average curvature, and the sum of its weights.
        self._curvature, self._weight = 0.0, 0.0
        # Of this round. The number of steps is 0 until a round begins: a controller that starts within one (because it
        # was off in the run that is resumed) does not know the distance over which V was reached.
        self._steps = 0
        self.target: float = DELTA
        self._measured: tuple[float, float] = (0.0, 0.0)
        self._brake = 1.0
        # The scale of the last step; the next one may be at most `grow` times as large.
        self._stepped = self.scale

    @property
    def factor(self) -> float:
        """Factor by which the next step's learning rate is multiplied."""
        return self.scale * self._brake

    @property
    def curvature(self) -> float:
        """C, the average of `m / D^2`; 0 while nothing is known."""
        return self._average()[0]

    @property
    def distance(self) -> float:
        """D, the sum of the factors of the steps since the round's start."""
        return self._distance

    def begin_round(self, steps: int, target: float) -> None:
        """Start a round: distance and movement are measured from the present policy.

        Args:
            steps: Optimizer steps that the round will have.
            target: T, a ratio variance per decision, above 0.

        Raises:
            ValueError: There is fewer than 1 step, or the target is not above 0.
        """
        check_number("steps", steps, at_least=1, remedy="pass the optimizer steps from one generation to the next")
        self._curvature, weight = self._average()
        self._weight = self.options.memory * weight
        self._distance, self._steps = 0.0, steps
        self._measured, self._brake = (0.0, 0.0), 1.0
        self.aim(target)

    def aim(self, target: float) -> None:
        """Change the target for the rest of the round.

        Args:
            target: T, a ratio variance per decision, above 0.
        """
        check_number("target", target, above=0, remedy="pass the ratio variance per decision that a round may reach")
        self.target = target
        self._rescale()

    def update(self, sums: MovementSums) -> float:
        """Update the scale from one measured movement.

        Args:
            sums: The movement since the round's start, added up over micro-batches and processes. A denominator of 0
                means that nothing was measured, and before a round's first step the movement is 0 by construction; in
                both cases nothing changes. A value that is not finite is treated as an outlier and stops the round's
                remaining steps. Before the first `begin_round` the measurement only brakes; it does not update the
                curvature, because its distance is not known.

        Returns:
            The new scale.
        """
        return self.follow(*sums.to_tensor().tolist())

    def follow(self, numerator: float, denominator: float, *, repeated: bool = False) -> float:
        """Do as `update` does, given the two sums as numbers, without waiting for a device.

        Rows that an earlier step of this round has trained on (`repeated`) only brake: they move further than others.
        """
        if denominator == 0 or (self._distance == 0 and self._steps > 0):
            return self.scale
        movement = numerator / denominator if math.isfinite(numerator / denominator) else math.inf
        allowed = SLACK * math.log1p(self.target)
        self._brake = 1.0 if movement <= allowed else allowed / movement
        if self._steps == 0 or repeated:
            return self.scale
        share = min(self._distance / (self._steps * self.scale), 1.0)
        # Infinity cannot be averaged.
        curvature = min(movement, 2 * LOG_RATIO_BOUND) / self._distance**2
        # Weights that do not respond to small steps (all rounded to bfloat16's grid) give rounds of V = 0, which must
        # not serve as a bound.
        if self._weight > 0 and self._curvature > 0:
            curvature = min(curvature, OUTLIER * self._curvature)
        decided = denominator if math.isfinite(denominator) else 1.0
        self._measured = curvature, share**2 * decided
        self._rescale()
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to continue with the same steps.

        Returns:
            Plain numbers.
        """
        return {
            "scale": self.scale,
            "curvature": self._curvature,
            "weight": self._weight,
            "distance": self._distance,
            "steps": self._steps,
            "target": self.target,
            "measured": list(self._measured),
            "brake": self._brake,
            "stepped": self._stepped,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a saved state; options and attached optimizers do not change.

        Args:
            state: The result of `state_dict`.

        Raises:
            ValueError: A key is missing.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"state of the step size lacks {', '.join(missing)}: load what state_dict() gave")
        self.scale = min(max(float(state["scale"]), self.options.min_scale), self.options.max_scale)
        self._curvature, self._weight = float(state["curvature"]), float(state["weight"])
        self._distance, self._steps = float(state["distance"]), int(state["steps"])
        self.target, self._brake = float(state["target"]), float(state["brake"])
        self._stepped = float(state["stepped"])
        curvature, weight = state["measured"]
        self._measured = float(curvature), float(weight)

    def _rescale(self) -> None:
        """Set the scale at which the round's steps reach its target, once a curvature is known."""
        curvature, weight = self._average()
        if weight > 0 and self._steps > 0:
            wanted = math.sqrt(math.log1p(self.target) / curvature) / self._steps if curvature > 0 else math.inf
            wanted = min(wanted, self.options.grow * self._stepped)
            self.scale = min(max(wanted, self.options.min_scale), self.options.max_scale)

    def _average(self) -> tuple[float, float]:
        """Average the curvature over this round and earlier ones; return it with its weight."""
        curvature, weight = self._measured
        total = self._weight + weight
        if total == 0:
            return self._curvature, 0.0
        return (self._weight * self._curvature + weight * curvature) / total, total

    def _length(self, groups: list[dict[str, Any]]) -> float:
        self._stepped = self.scale
        return super()._length(groups)
