"""An alternative to step control, for comparison: the KL-adaptive learning rate of PPO in robotics."""

from __future__ import annotations

from typing import Any

from r2vpo.core.options import TARGET_KL, StepControlOptions
from r2vpo.core.rate_hooks import ScaledSteps
from r2vpo.core.types import KLSums

BAND = 2.0
"""The scale does not change while the divergence is within this factor of its target, on either side."""
FACTOR = 1.5
"""The scale is multiplied or divided by this outside that band."""


class KLAdaptiveController(ScaledSteps):
    """Controller that scales the learning rate by a fixed factor when the KL divergence leaves its target band.

    Before each optimizer step, with KL the divergence of the current policy from the one at the round's start,
    measured on the tokens of that step:

        KL > 2 target:        scale = max(scale / 1.5, min_scale)
        0 < KL < target / 2:  scale = min(1.5 scale, max_scale)

    and the step uses the new scale. KL is `sum(w (r - 1 - log r)) / sum(w)`, in nats per token (`KLSums`). The scale
    starts at 1, so the run starts at its learning rate; it is kept from round to round. The target is the only option
    that depends on the task and has to be tuned, since the KL divergence per token depends on how many tokens the
    policy is certain of.

    Attributes:
        options: The options, of kind "kl".
        target: The target of the KL divergence, nats per token.
        scale: The current factor of the learning rate.

    Source: `schedule="adaptive"` of PPO in rsl_rl (2109.11978), and `KLAdaptiveLR` of skrl, after rl_games.
    Differences: rsl_rl computes the divergence of Gaussians in closed form, while ours is skrl's estimate from samples;
    a round's first step, where the divergence is 0 except for rounding, changes nothing here, while rsl_rl adds 1e-5
    per dimension and so raises the rate there; skrl decides once per pass, by the mean over its steps; their bounds
    apply to the rate itself, 1e-5 (skrl 1e-6) to 1e-2 around an initial rate of 1e-3, while ours apply to the scale.
    """

    def __init__(self, options: StepControlOptions | None = None) -> None:
        super().__init__()
        self.options = StepControlOptions(kind="kl") if options is None else options
        self.target = TARGET_KL if self.options.target_kl is None else self.options.target_kl
        self.scale = 1.0

    @property
    def factor(self) -> float:
        """Factor by which the next step's learning rate is multiplied."""
        return self.scale

    def begin_round(self, steps: int, target: float) -> None:
        """Start a round: divergence is measured against the present policy from here on.

        Args:
            steps: Optimizer steps that the round will have; unused.
            target: The round's trust radius; unused.
        """
        self._distance = 0.0

    def update(self, sums: KLSums) -> float:
        """Update the scale from one measured divergence.

        Args:
            sums: The divergence since the round's start, added up over micro-batches and processes. A denominator of 0
                means that nothing was measured, and before a round's first step the divergence is 0 by construction; in
                both cases nothing changes. A value that is not finite is treated as too large.

        Returns:
            The new scale.
        """
        numerator, denominator = sums.to_tensor().tolist()
        if denominator == 0 or self._distance == 0:
            return self.scale
        divergence = numerator / denominator
        # Also true of NaN and infinity.
        if not divergence <= BAND * self.target:
            self.scale = max(self.scale / FACTOR, self.options.min_scale)
        elif 0 < divergence < self.target / BAND:
            self.scale = min(self.scale * FACTOR, self.options.max_scale)
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed run needs to continue with the same steps.

        Returns:
            Plain numbers.
        """
        return {"kl_scale": self.scale, "distance": self._distance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a saved state; options and attached optimizers do not change.

        Args:
            state: The result of `state_dict`.

        Raises:
            ValueError: A key is missing, as in a state of the other kind of step control.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"state of the KL-adaptive rate lacks {', '.join(missing)}: load what state_dict() gave")
        self.scale = min(max(float(state["kl_scale"]), self.options.min_scale), self.options.max_scale)
        self._distance = float(state["distance"])
