"""What is added up over one optimizer step, and the two controllers that read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.diagnostics import diagnostic_sums, summarize
from r2vpo.core.dual import DualController
from r2vpo.core.held_out import HeldOutGain, HeldOutSums, held_out_sums
from r2vpo.core.kl_adaptive import KLAdaptiveController
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.radius import DELTA, informative, radius
from r2vpo.core.ratios import LOG_RATIO_BOUND, logit_movement, stale_weight
from r2vpo.core.step_size import StepSizeController
from r2vpo.core.types import KLSums, LossOutput, MomentSums, MovementSums, WeightedSums


class Controls:
    """Lambda and the step size, driven by sums over micro-batches and processes.

    Args:
        dual: The multiplier's options.
        step_control: The options of step control.
        steps_per_round: Optimizer steps from one generation to the next.
        reduce: Sums a tensor over all processes.
        delta: V_d of a round for each informative rollout.
        constraint_target: Target of what the multiplier constrains; None for delta.
        dual_scales: Whether what the multiplier constrains is the ratio variance, whose target is delta for each
            informative rollout; a divergence has one target.

    Attributes:
        movement: The mean squared movement of a logit since the round's start, over the last finished optimizer step,
            whatever the objective's anchor; 0 at a round's first step, but for noise. 0 before any step.
        informative: The running count of informative rollouts, by which delta is multiplied; None before any round.
        held_out: The gain on rows that no step had trained on yet.
        alignment: How well the policy's movement agrees with the advantages of those rows, gamma of `HeldOutGain`; 0
            where it is not known, as without `StepSizeController`.
        target: The V_d that this round may come to, see `r2vpo.core.radius`; 0 before the first round.
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
        self._steps_per_round = steps_per_round
        self._reduce = reduce
        self._sums: tuple[Tensor, ...] | None = None
        self._scales_target, self._delta = dual_scales, delta
        self.movement = 0.0
        self.informative: float | None = None
        self.held_out = HeldOutGain()
        self.alignment, self.target = 0.0, 0.0

    @property
    def reads_rounds(self) -> bool:
        """Whether step control reads how far a round as a whole has moved; the KL rule reads single steps."""
        return isinstance(self.step_size, StepSizeController)

    def begin_round(
        self,
        advantages: MomentSums,
        previous_round: MovementSums,
        rollouts: float,
        *,
        steps: int | None = None,
    ) -> None:
        """Start a round: its trust radius, lambda's closed form, and how far the last round really moved.

        The last optimizer step of a round is never measured within it. Rows of that round that are evaluated again
        are: their log-probs under the policies at both ends give the movement of the whole round.

        Args:
            advantages: Sums of this process over the round's rows.
            previous_round: Sums of this process over rows seen in the round before; empty where there are none.
            rollouts: Fresh rollouts of this process whose advantage is not 0.
            steps: Optimizer steps of this round; None: as the controls were built.
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
        """Set the round's trust radius to what is known now."""
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
        held_out: HeldOutSums | None = None,
        kl: KLSums | None = None,
    ) -> None:
        """Add one micro-batch.

        Args:
            constrained: What the objective constrains.
            proximal: The movement since the round's start.
            diagnostics: Their sums, see `diagnostic_sums`.
            held_out: The gain on rows that no step has trained on yet; None where they are not known.
            kl: The KL divergence since the round's start, for step control that follows it, else None.
        """
        held = diagnostics.new_zeros(3) if held_out is None else held_out.to_tensor()
        per_token = [] if kl is None else [kl.to_tensor()]
        pieces = (constrained.to_tensor(), proximal.to_tensor(), diagnostics, held, *per_token)
        before = self._sums
        self._sums = pieces if before is None else tuple(old + new for old, new in zip(before, pieces, strict=True))

    def measure(
        self,
        output: LossOutput,
        *,
        log_probs: Tensor,
        old_log_probs: Tensor,
        response_mask: Tensor,
        rollout_log_probs: Tensor | None,
        config: ObjectiveConfig,
        held_out: Tensor | None = None,
        **described: Any,
    ) -> Tensor:
        """Add one micro-batch from its loss: what it constrains, its movement, and its diagnostics.

        Args:
            output: What the objective returned for this micro-batch.
            log_probs: (B, T) nats, as the objective was given them.
            old_log_probs: (B, T) nats.
            response_mask: (B, T) bool.
            rollout_log_probs: (B, T) nats, or None.
            config: The objective's options.
            held_out: (B,) bool, rows that no optimizer step has trained on yet; None where that is not known.
            **described: The other arguments of `diagnostic_sums`: `advantages`, and where they are known `entropy`,
                `staleness`, `max_staleness`.

        Returns:
            The sums of the diagnostics, see `diagnostic_sums`.
        """
        now = log_probs.detach()
        weight = stale_weight(old_log_probs, rollout_log_probs, response_mask, config.stale_weight_cap, "token")
        diagnostics = diagnostic_sums(
            log_probs=now,
            old_log_probs=old_log_probs,
            rollout_log_probs=rollout_log_probs,
            response_mask=response_mask,
            dual=self.dual.value,
            config=config,
            **described,
        )
        proximal = logit_movement(now, old_log_probs, response_mask, weight)
        # The movement is twice the KL divergence, over decisions; the KL rule has it over tokens.
        by_tokens = isinstance(self.step_size, KLAdaptiveController)
        self.add(
            constrained=output.constraint,
            proximal=proximal,
            diagnostics=diagnostics,
            held_out=held_out_sums(now, old_log_probs, described["advantages"], response_mask, weight, held_out),
            kl=KLSums(proximal.numerator / 2, weight.sum()) if by_tokens else None,
        )
        return diagnostics

    def finish_step(self) -> dict[str, Any]:
        """End an optimizer step: one sum over processes, then both controllers move.

        Returns:
            The step's diagnostics as floats and lists, with the lambda that was used in it.

        Raises:
            ValueError: No micro-batch was added.
        """
        if self._sums is None:
            raise ValueError(
                "the optimizer step has no micro-batch, and must have one: call add() before finish_step()"
            )
        constrained_sums, proximal_sums, diagnostics, *others = self._sums
        totals = self._totals(constrained_sums, proximal_sums, diagnostics.flatten(), *others)
        constrained = WeightedSums.from_tensor(totals[:2])
        end = 4 + diagnostics.numel()
        metrics = summarize(totals[4:end].view(diagnostics.shape))
        metrics["dual"] = self.dual.value
        self.dual.update(constrained)
        proximal = MovementSums.from_tensor(totals[2:4])
        numerator, denominator = totals[2:4].tolist()
        self.movement = numerator / denominator if denominator else 0.0
        if isinstance(self.step_size, StepSizeController):
            self.held_out.add(totals[end : end + 3], self.step_size.distance)
            if self.informative is not None:
                self._aim()
            self.step_size.update(proximal)
        elif self.step_size is not None:
            self.step_size.update(KLSums.from_tensor(totals[-2:]))
        metrics["decision_variance"] = math.expm1(min(self.movement, 2 * LOG_RATIO_BOUND))
        metrics["decision_variance_target"] = self.target
        metrics["held_out_alignment"] = self.alignment
        metrics["step_scale"] = self.step_size.factor if self.step_size is not None else 1.0
        self._sums = None
        return metrics

    def _totals(self, *sums: Tensor) -> Tensor:
        """Sums over all processes, on the host: the one wait for the device of a round's start and of a step."""
        return self._reduce(torch.cat(sums)).cpu()

    def state_dict(self) -> dict[str, Any]:
        """Both controllers' states, and what the trust radius is made of."""
        return {
            "informative": self.informative,
            "held_out": self.held_out.state_dict(),
            "target": self.target,
            "dual": self.dual.state_dict(),
            "step_size": self.step_size.state_dict() if self.step_size is not None else None,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore both controllers and the trust radius.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A key is missing, as in what an earlier version wrote.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(
                f"state of the controls lacks {', '.join(missing)}: it is of an earlier version of r2vpo, so start a "
                "new run with its weights"
            )
        self.informative, self.target = state["informative"], float(state["target"])
        self.held_out.load_state_dict(state["held_out"])
        self.dual.load_state_dict(state["dual"])
        if self.step_size is not None and state["step_size"] is not None:
            self.step_size.load_state_dict(state["step_size"])


def _controller(options: StepControlOptions) -> StepSizeController | KLAdaptiveController | None:
    if not options.enabled:
        return None
    return KLAdaptiveController(options) if options.kind == "kl" else StepSizeController(options)
