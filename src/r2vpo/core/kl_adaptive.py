"""A rival of step control: the KL-adaptive learning rate of robotics' PPO, for comparison."""

from __future__ import annotations

from typing import Any

from r2vpo.core.options import TARGET_KL, StepControlOptions
from r2vpo.core.rate_hooks import ScaledSteps
from r2vpo.core.types import KLSums

BAND = 2.0
"""The scale stays while the divergence is within this factor of its target, on either side."""
FACTOR = 1.5
"""What the scale is multiplied or divided by outside of that."""


class KLAdaptiveController(ScaledSteps):
    """Scales the learning rate by a fixed factor whenever the KL divergence leaves a band around its target.

    Before each optimizer step, with KL the divergence of the current policy from the one at the round's start,
    measured on the tokens of that step:

        KL > 2 target:        scale = max(scale / 1.5, min_scale)
        0 < KL < target / 2:  scale = min(1.5 scale, max_scale)

    and the step is made with the new scale. KL is `sum(w (r - 1 - log r)) / sum(w)`, nats a token (`KLSums`). The scale
    starts at 1, so the run starts at its learning rate; it is kept from round to round. No option but the target has
    anything to do with the task: the target is what has to be tuned, since the KL divergence of a token depends on how
    much the policy is certain of.

    Attributes:
        options: The options, of kind "kl".
        target: The KL divergence that is aimed at, nats a token.
        scale: The factor of the learning rate now.

    Source: `schedule="adaptive"` of PPO in rsl_rl (2109.11978), and `KLAdaptiveLR` of skrl, after rl_games.
    Differences: rsl_rl has the divergence of Gaussians in closed form, ours is skrl's estimate from what was sampled; a
    round's first step, where it is 0 but for rounding, changes nothing here, while rsl_rl adds 1e-5 a dimension and so
    raises the rate there; skrl decides once a pass, by the mean over its steps; their bounds are on the rate itself,
    1e-5 (skrl 1e-6) to 1e-2 about a first rate of 1e-3, ours on the scale.
    """

    def __init__(self, options: StepControlOptions | None = None) -> None:
        super().__init__()
        self.options = StepControlOptions(kind="kl") if options is None else options
        self.target = TARGET_KL if self.options.target_kl is None else self.options.target_kl
        self.scale = 1.0

    @property
    def factor(self) -> float:
        """What the next step's learning rate is multiplied by."""
        return self.scale

    def begin_round(self, steps: int, target: float) -> None:
        """Start a round: the policy that is measured against is the present one.

        Args:
            steps: Optimizer steps that the round will have; not read.
            target: The round's trust radius; not read.
        """
        self._distance = 0.0

    def update(self, sums: KLSums) -> float:
        """Follow one measured divergence.

        Args:
            sums: The divergence since the round's start, added up over micro-batches and processes. With a denominator
                of 0 nothing was measured, and before a round's first step it is 0 by construction: nothing changes.
                One that is not finite counts as too large.

        Returns:
            The new scale.
        """
        numerator, denominator = sums.to_tensor().tolist()
        if denominator == 0 or self._distance == 0:
            return self.scale
        divergence = numerator / denominator
        # NaN is below nothing, and infinity neither.
        if not divergence <= BAND * self.target:
            self.scale = max(self.scale / FACTOR, self.options.min_scale)
        elif 0 < divergence < self.target / BAND:
            self.scale = min(self.scale * FACTOR, self.options.max_scale)
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """The state with which a resumed run continues with the same steps.

        Returns:
            Plain numbers.
        """
        return {"kl_scale": self.scale, "distance": self._distance}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; options and attached optimizers stay as they are.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A key is missing, as in the state of the other step control.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"state of the KL-adaptive rate lacks {', '.join(missing)}: load what state_dict() gave")
        self.scale = min(max(float(state["kl_scale"]), self.options.min_scale), self.options.max_scale)
        self._distance = float(state["distance"])
