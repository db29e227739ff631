"""The step size follows the ratio variance per decision: no learning rate to set."""

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
"""Within a round a step is braked where the movement is above this many times the round's target: a step's own V_d is
measured on a few decisions."""


class StepSizeController(ScaledSteps):
    """Scales the learning rate of a torch optimizer so that V_d of a round comes to its target T.

    T is what a round is begun with, or what `aim` is told (`r2vpo.core.radius`). What is measured is the movement m,
    the mean squared movement of a logit (`r2vpo.core.ratios.logit_movement`), at which `V_d = exp(m) - 1`. It grows
    with the square of the distance D from the round's start, the sum of the factors on the learning rate that its
    steps had. So there is one number to know, the curvature `m / D^2`, and one scale at which the k steps of a round
    come to the target:

        scale = sqrt(log(1 + T) / C) / k,    C = average of m / D^2 over the rounds so far

    The average weighs a round with `q^2 d memory^age`. q, at most 1, is the share of the round's distance that
    its last measurement has seen; d is the number of decisions that it was measured on, `sum(w (1 - p))`. It is a long
    average, since a round has few decisions where much is certain, and one round counts for at most `OUTLIER` times
    the average before it. While nothing else is known the first measurement of the first round
    counts alone, and the scale grows by at most `grow` a step from `first_scale`.

    Within a round a step is braked at once: while m is above `SLACK log(1 + T)` its factor is the scale times their
    ratio. The next round starts with the scale.

    Under Adam a penalty turns the direction of the update and not its length, so the brake has to reach the step
    size.

    The factor is applied inside `optimizer.step()` only (`ScaledSteps`). A schedule shapes the rate that is found: D
    counts a step in proportion to its `lr / initial_lr`.

    Attributes:
        options: The options.
        scale: The factor of the learning rate now, brake apart.
        target: T, the V_d that this round aims at; `DELTA` before the first round.
    """

    def __init__(self, options: StepControlOptions | None = None) -> None:
        super().__init__()
        self.options = StepControlOptions() if options is None else options
        self.scale: float = self.options.first_scale
        # Of the rounds before: the average curvature, and the sum of its weights.
        self._curvature, self._weight = 0.0, 0.0
        # Of this round.
        # 0 steps until a round begins: a controller that starts within one (it was off in the run that is resumed) does
        # not know the distance that V has come from.
        self._steps = 0
        self.target: float = DELTA
        self._measured: tuple[float, float] = (0.0, 0.0)
        self._brake = 1.0
        # The scale of the last step, from which the next one's may differ by `grow`.
        self._stepped = self.scale

    @property
    def factor(self) -> float:
        """What the next step's learning rate is multiplied by."""
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
        """Start to measure the distance from here: the policy that is measured against is the present one.

        Args:
            steps: Optimizer steps that the round will have.
            target: T, a ratio variance per decision, above 0.

        Raises:
            ValueError: Fewer than 1 step, or a target that is not above 0.
        """
        check_number("steps", steps, at_least=1, remedy="pass the optimizer steps from one generation to the next")
        self._curvature, weight = self._average()
        self._weight = self.options.memory * weight
        self._distance, self._steps = 0.0, steps
        self._measured, self._brake = (0.0, 0.0), 1.0
        self.aim(target)

    def aim(self, target: float) -> None:
        """Take another target for what is left of the round.

        Args:
            target: T, a ratio variance per decision, above 0.
        """
        check_number("target", target, above=0, remedy="pass the ratio variance per decision that a round may reach")
        self.target = target
        self._rescale()

    def update(self, sums: MovementSums) -> float:
        """Follow one measured movement.

        Args:
            sums: The movement since the round's start, added up over micro-batches and processes. With a
                denominator of 0 nothing was measured, and before a round's first step it is 0 by construction: nothing
                changes. One that is not finite counts as an outlier and stops the round's remaining steps. Before the
                first `begin_round` it brakes and says nothing of the curvature: its distance is not known.

        Returns:
            The new scale.
        """
        numerator, denominator = sums.to_tensor().tolist()
        if denominator == 0 or (self._distance == 0 and self._steps > 0):
            return self.scale
        movement = numerator / denominator if math.isfinite(numerator / denominator) else math.inf
        allowed = SLACK * math.log1p(self.target)
        self._brake = 1.0 if movement <= allowed else allowed / movement
        if self._steps == 0:
            return self.scale
        share = min(self._distance / (self._steps * self.scale), 1.0)
        # Infinity has no average.
        curvature = min(movement, 2 * LOG_RATIO_BOUND) / self._distance**2
        # Weights that do not follow small steps (all on bfloat16's grid) give rounds of V = 0, which bound nothing.
        if self._weight > 0 and self._curvature > 0:
            curvature = min(curvature, OUTLIER * self._curvature)
        decided = denominator if math.isfinite(denominator) else 1.0
        self._measured = curvature, share**2 * decided
        self._rescale()
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to continue with the same steps.

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
        """Go on from a saved state; options and attached optimizers stay as they are.

        Args:
            state: What `state_dict` gave.

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
        """Set the scale at which the round's steps come to its target, once a curvature is known."""
        curvature, weight = self._average()
        if weight > 0 and self._steps > 0:
            wanted = math.sqrt(math.log1p(self.target) / curvature) / self._steps if curvature > 0 else math.inf
            wanted = min(wanted, self.options.grow * self._stepped)
            self.scale = min(max(wanted, self.options.min_scale), self.options.max_scale)

    def _average(self) -> tuple[float, float]:
        """The curvature over this round and those before it, and its weight."""
        curvature, weight = self._measured
        total = self._weight + weight
        if total == 0:
            return self._curvature, 0.0
        return (self._weight * self._curvature + weight * curvature) / total, total

    def _length(self, groups: list[dict[str, Any]]) -> float:
        self._stepped = self.scale
        return super()._length(groups)
