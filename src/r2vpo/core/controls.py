"""Sums collected over one optimizer step, and the two controllers that use them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.diagnostics import diagnostic_sums, summarize
from r2vpo.core.dual import DualController
from r2vpo.core.held_out import HeldOutGain, held_out_sums
from r2vpo.core.kl_adaptive import KLAdaptiveController
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.radius import DELTA, informative, radius
from r2vpo.core.ratios import LOG_RATIO_BOUND
from r2vpo.core.step_size import StepSizeController
from r2vpo.core.types import KLSums, LossOutput, MomentSums, MovementSums, WeightedSums
from r2vpo.core.validation import check_number, check_state


class Controls:
    """Controllers of lambda and the step size, driven by sums over micro-batches and processes.

    Args:
        dual: The multiplier's options.
        step_control: The options of step control.
        steps_per_round: Optimizer steps from one generation to the next.
        reduce: Sums a tensor over all processes.
        delta: V_d of a round per informative rollout.
        constraint_target: Target of the quantity that the multiplier constrains; None for delta.
        dual_scales: True if the multiplier constrains the ratio variance, whose target is delta per informative
            rollout; False for a divergence, which has a single target.

    Attributes:
        dual: The controller of lambda; the loss takes `dual.value`.
        step_size: The controller of the step size, whose `attach` scales the steps of an optimizer; None if step
            control is off.
        movement: The mean squared movement of a logit since the round's start, over the last finished optimizer step,
            whatever the objective's anchor; 0 at a round's first step, except for noise, and 0 before any step.
        informative: The running count of informative rollouts, by which delta is multiplied; None before any round.
        held_out: The gain on rows that no step has trained on yet.
        alignment: How well the policy's movement agrees with the advantages of those rows, gamma of `HeldOutGain`; 0
            where it is unknown, for example without `StepSizeController`.
        target: The V_d that this round may reach, see `r2vpo.core.radius`; 0 before the first round.

    Raises:
        ValueError: `steps_per_round` is below 1.
    """

    def __init__(
        self,
        *,
        dual: DualOptions,
        step_control: StepControlOptions,
        steps_per_round: int,
        reduce: Callable[[Tensor], Tensor],
        delta: float = DELTA,
        constraint_target: float | None = None,
        dual_scales: bool = True,
    ) -> None:
        self.dual = DualController(dual, delta=delta if constraint_target is None else constraint_target)
        self.step_size = _controller(step_control)
        check_number("steps_per_round", steps_per_round, at_least=1, remedy="pass the optimizer steps of a round")
        self._steps_per_round = steps_per_round
        self._reduce = reduce
        self._sums: tuple[Tensor, ...] | None = None
        self._repeated = False
        self._scales_target, self._delta = dual_scales, delta
        self.movement = 0.0
        self.informative: float | None = None
        self.held_out = HeldOutGain()
        self.alignment, self.target = 0.0, 0.0

    @property
    def reads_rounds(self) -> bool:
        """Whether step control uses the movement of whole rounds; the KL rule uses only single steps."""
        return isinstance(self.step_size, StepSizeController)

    def begin_round(
        self,
        advantages: MomentSums,
        previous_round: MovementSums,
        rollouts: float,
        *,
        steps: int | None = None,
    ) -> None:
        """Start a round: set its trust radius and lambda's closed form, and record how far the last round moved.

        The last optimizer step of a round is never measured within that round. Rows of the round that are evaluated
        again later do measure it: their log-probs under the policies at both ends give the movement of the whole round.

        Args:
            advantages: Sums of this process over the round's rows.
            previous_round: Sums of this process over rows seen in the previous round; empty if there are none.
            rollouts: Fresh rollouts of this process whose advantage is not 0.
            steps: Optimizer steps of this round; None uses `steps_per_round`.
        """
        count = advantages.numerator.new_full((1,), rollouts)
        totals = self._totals(advantages.to_tensor(), previous_round.to_tensor(), count)
        self.informative = informative(self.informative, float(totals[4]))
        if isinstance(self.step_size, StepSizeController):
            self.step_size.update(MovementSums.from_tensor(totals[2:4]))
        self.held_out.begin_round()
        if self.step_size is not None:
            steps = self._steps_per_round if steps is None else steps
            self.step_size.begin_round(steps, self._delta * self.informative)
        self._aim()
        self.dual.begin_round(MomentSums.from_tensor(totals[:2]), self.target if self._scales_target else None)

    def _aim(self) -> None:
        """Update the round's trust radius from what is known now."""
        assert self.informative is not None, "no round has begun"
        if isinstance(self.step_size, StepSizeController):
            self.alignment = self.held_out.alignment(self.step_size.curvature)
        self.target = radius(self._delta, self.informative, self.alignment)
        if isinstance(self.step_size, StepSizeController):
            self.step_size.aim(self.target)

    def add(
        self,
        *,
        constrained: WeightedSums,
        proximal: MovementSums,
        diagnostics: Tensor,
        held_out: Tensor | None = None,
        kl: KLSums | None = None,
        repeated: bool = False,
    ) -> None:
        """Add one micro-batch.

        Args:
            constrained: Sums of what the objective constrains.
            proximal: Sums of the movement since the round's start.
            diagnostics: Sums of the diagnostics, see `diagnostic_sums`; an empty tensor leaves them out of what
                `finish_step` returns, in all micro-batches of a step or in none.
            held_out: `held_out_sums`, (4,); None if it is not known which rows no step has trained on.
            kl: Sums of the KL divergence since the round's start, if step control follows it, else None.
            repeated: Whether an earlier step of this round has trained on these rows; see `measure`.
        """
        self._repeated = repeated
        held = diagnostics.new_zeros(4) if held_out is None else held_out
        per_token = [] if kl is None else [kl.to_tensor()]
        pieces = (constrained.to_tensor(), proximal.to_tensor(), diagnostics, held, *per_token)
        before = self._sums
        self._sums = pieces if before is None else tuple(old + new for old, new in zip(before, pieces, strict=True))

    def measure(
        self,
        output: LossOutput,
        *,
        entropy: Tensor | None = None,
        staleness: Tensor | None = None,
        max_staleness: int = 0,
        held_out: Tensor | None = None,
        repeated: bool = False,
        diagnosed: bool = True,
    ) -> Tensor:
        """Add one micro-batch from its loss output: the constrained quantity, the movement and the diagnostics.

        Args:
            output: What the objective returned for this micro-batch.
            entropy: (B, T) nats per token, see `diagnostic_sums`.
            staleness: (B,) long, see `diagnostic_sums`.
            max_staleness: The largest staleness that has its own diagnostics; older rows count as this old.
            held_out: (B,) bool, rows that no optimizer step has trained on yet; None if that is not known.
            repeated: Whether an earlier step of this round has trained on these rows, as in a second pass; the same in
                all processes. The policy moves further on such rows than on others, so the step control does not learn
                a step size from them: their movement only brakes.
            diagnosed: Whether the diagnostics are computed, which takes as long as a small loss.

        Returns:
            The sums of the diagnostics, see `diagnostic_sums`; empty without them.
        """
        diagnostics = output.loss.detach().new_zeros(0)
        if diagnosed:
            diagnostics = diagnostic_sums(output, entropy=entropy, staleness=staleness, max_staleness=max_staleness)
        moved = output.proximal.movement_sums()
        # The movement is twice the KL divergence per decision; the KL rule uses the divergence per token.
        by_tokens = isinstance(self.step_size, KLAdaptiveController)
        self.add(
            constrained=output.constraint,
            proximal=moved,
            diagnostics=diagnostics,
            held_out=held_out_sums(output.proximal, output.advantages, held_out),
            repeated=repeated,
            kl=KLSums(moved.numerator / 2, output.proximal.weight_sum) if by_tokens else None,
        )
        return diagnostics

    def finish_step(self, *, trained: bool = True) -> dict[str, Any]:
        """End an optimizer step: sum over processes once, then update both controllers.

        Args:
            trained: Whether the step trains the policy. If it does not, as while only a critic is trained, there is no
                movement to learn from, and both controllers stay as they are.

        Returns:
            The step's diagnostics as floats and lists, with the lambda that the step used.

        Raises:
            ValueError: No micro-batch was added.
        """
        if self._sums is None:
            raise ValueError(
                "the optimizer step has no micro-batch, and must have one: call measure(), or Learner.loss, before "
                "finish_step()"
            )
        constrained_sums, proximal_sums, diagnostics, *others = self._sums
        totals = self._totals(constrained_sums, proximal_sums, diagnostics.flatten(), *others)
        numbers = totals.tolist()
        end = 4 + diagnostics.numel()
        metrics = summarize(totals[4:end].view(diagnostics.shape)) if diagnostics.numel() else {}
        metrics["dual"] = self.dual.value
        if trained:
            self.dual.follow(*numbers[:2])
        numerator, denominator = numbers[2:4]
        self.movement = numerator / denominator if denominator else 0.0
        if not trained:
            pass
        elif isinstance(self.step_size, StepSizeController):
            self.held_out.add(numbers[end : end + 4], self.step_size.distance)
            if self.informative is not None:
                self._aim()
            self.step_size.follow(numerator, denominator, repeated=self._repeated)
        elif self.step_size is not None:
            self.step_size.update(KLSums.from_tensor(totals[-2:]))
        metrics["decision_variance"] = math.expm1(min(self.movement, 2 * LOG_RATIO_BOUND))
        metrics["decision_variance_target"] = self.target
        metrics["held_out_alignment"] = self.alignment
        metrics["step_scale"] = self.step_size.factor if self.step_size is not None else 1.0
        self._sums = None
        return metrics

    def _totals(self, *sums: Tensor) -> Tensor:
        """Sum over all processes, on the host: the only wait for the device at a round's start and in a step."""
        return self._reduce(torch.cat(sums)).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Return the states of both controllers and of the trust radius."""
        return {
            "informative": self.informative,
            "held_out": self.held_out.state_dict(),
            "target": self.target,
            "dual": self.dual.state_dict(),
            "step_size": self.step_size.state_dict() if self.step_size is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both controllers and the trust radius from `state_dict`'s; a ValueError names a missing key."""
        check_state("controls", state, self.state_dict())
        self.informative, self.target = state["informative"], float(state["target"])
        self.held_out.load_state_dict(state["held_out"])
        self.dual.load_state_dict(state["dual"])
        if self.step_size is not None and state["step_size"] is not None:
            self.step_size.load_state_dict(state["step_size"])


def _controller(options: StepControlOptions) -> StepSizeController | KLAdaptiveController | None:
    if not options.enabled:
        return None
    return KLAdaptiveController(options) if options.kind == "kl" else StepSizeController(options)
