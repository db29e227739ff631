"""Rounds of a preference run: the controls, the unit of the advantages, and how far the last round moved."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.dual import advantage_moments
from r2vpo.core.options import DualOptions, StepControlOptions
from r2vpo.core.preferences import PreferenceOptions, given_ratios, held_back
from r2vpo.core.signal import SignalSums, signal_sums
from r2vpo.core.types import LossOutput, MomentSums, MovementSums
from r2vpo.core.validation import check_state
from r2vpo.trl.dpo.batches import Batch, Start, response_mask

MEASURED_AGAIN = 4
"""One micro-batch in this many is evaluated again after a round's last step, to measure the round as a whole."""

LOGGED = (
    "decision_variance",
    "decision_variance_target",
    "dual",
    "step_scale",
    "ratio_variance",
    "mean_ratio",
    "chi_square",
    "kl",
    "sign_flip_fraction",
    "clip_fraction",
    "effective_responses",
)
"""The numbers of a step that are logged, by their names in docs/metrics.md."""


class PreferenceRounds:
    """Starts and measures rounds.

    No row counts as held out: the trust radius of a round is delta times the effective number of its responses.

    Args:
        options: The options of the constraint.
        dual: Those of the multiplier.
        step_control: Those of step control.
        reduce: Sums a tensor over all processes.
        processes: Number of processes.

    Attributes:
        controls: The controllers of lambda and the step size. Their lambda is in units of the round's root mean square
            advantage, so that it depends neither on beta nor on the kind of loss.
        responses: Effective number of responses of this round, over all processes.
    """

    def __init__(
        self,
        options: PreferenceOptions,
        *,
        dual: DualOptions,
        step_control: StepControlOptions,
        reduce: Callable[[Tensor], Tensor],
        processes: int,
    ) -> None:
        self.controls = Controls(
            dual=dual,
            step_control=step_control,
            steps_per_round=options.steps_per_round,
            reduce=reduce,
            delta=options.delta,
        )
        self._options, self._reduce, self._processes = options, reduce, processes
        self._unit, self.responses = 1.0, 0.0
        self._probes: list[Batch] = []

    def measure_last(self, evaluate: Callable[[Batch], Tensor]) -> MovementSums:
        """Measure how far the last round moved the policy, on a quarter of its micro-batches.

        Args:
            evaluate: Computes the present log-probs of a micro-batch, (2 N, T).

        Returns:
            Sums of this process; 0 over 0 if there was no round, or if nothing reads them.
        """
        probes, self._probes = self._probes, []
        sums = MovementSums.zero()
        for batch in probes if self.controls.reads_rounds else []:
            start = Start.of(batch)
            assert start is not None, "only micro-batches of a round are kept"
            now = given_ratios(evaluate(batch), start.old_log_probs, response_mask(batch), start.decisions)
            moved = now.movement_sums()
            sums = moved if sums.denominator == 0 else sums + moved
        return sums

    def begin(self, batches: Sequence[Batch], last: MovementSums, steps: int) -> None:
        """Start a round: the unit of its advantages, its trust radius and lambda.

        Args:
            batches: The round's micro-batches of this process, with what is known at its start.
            last: What `measure_last` has measured.
            steps: Optimizer steps of the round.
        """
        starts = [(start, response_mask(batch)) for batch in batches if (start := Start.of(batch)) is not None]
        moments, signals = [], []
        for start, mask in starts:
            signals.append(signal_sums(start.advantages, mask))
            moments.append(advantage_moments(start.advantages, mask, start.old_log_probs, decisions=start.decisions))
        signal, moment = signals[0], moments[0]
        for more, another in zip(signals[1:], moments[1:], strict=True):
            signal, moment = signal + more, moment + another
        signal = SignalSums.from_tensor(self._reduce(signal.to_tensor()))
        self._unit, self.responses = signal.unit(), signal.responses()
        self.controls.begin_round(
            MomentSums(moment.numerator / self._unit**2, moment.denominator),
            MovementSums.from_tensor(last.to_tensor().to(moment.numerator)),
            self.responses / self._processes,  # the controls add up those of all processes
            steps=steps,
        )
        self._probes = [dict(batch) for batch in batches[::MEASURED_AGAIN]]

    def hold(self, log_probs: Tensor, start: Start, mask: Tensor, scale: float) -> Tensor:
        """Brake the gradient of a micro-batch; see `r2vpo.core.preferences.held_back`.

        Args:
            log_probs: log pi, (2 N, T) nats.
            start: What is known of the micro-batch.
            mask: (2 N, T) bool.
            scale: What the gradient is multiplied by to be that of one pair.
        """
        return held_back(log_probs, start.old_log_probs, mask, dual=self._dual, scale=scale, brake=self._options.brake)

    def measure(self, log_probs: Tensor, start: Start, mask: Tensor) -> None:
        """Add one micro-batch to what the controls know of the present optimizer step.

        Args:
            log_probs: log pi, (2 N, T) nats.
            start: What is known of the micro-batch.
            mask: (2 N, T) bool.
        """
        ratios = given_ratios(log_probs, start.old_log_probs, mask, start.decisions)
        dual = torch.as_tensor(self._dual, dtype=ratios.log_ratio.dtype, device=log_probs.device)
        self.controls.measure(
            LossOutput(
                loss=ratios.log_ratio.new_zeros(()),  # the loss itself is not measured
                metrics={"dual": dual},
                constraint=ratios.decision_sums(),
                ratios=ratios,
                proximal=ratios,
                advantages=start.advantages,
            )
        )

    def finish_step(self) -> dict[str, float]:
        """End an optimizer step, before the optimizer's own; return the numbers to log."""
        metrics = self.controls.finish_step() | {"effective_responses": self.responses}
        return {name: metrics[name] for name in LOGGED}

    @property
    def _dual(self) -> float:
        """The multiplier in the units of the loss's gradient."""
        return self.controls.dual.value * self._unit

    def state_dict(self) -> dict[str, Any]:
        """Return what the next step and the next round depend on, as tensors and numbers."""
        return {
            "controls": self.controls.state_dict(),
            "unit": self._unit,
            "responses": self.responses,
            "probes": [{name: value.cpu() for name, value in batch.items()} for batch in self._probes],
        }

    def load_state_dict(self, state: dict[str, Any], device: torch.device) -> None:
        """Resume from the result of `state_dict`.

        Args:
            state: It.
            device: Of the model.

        Raises:
            ValueError: A key is missing.
        """
        check_state("rounds", state, self.state_dict())
        self.controls.load_state_dict(state["controls"])
        self._unit, self.responses = float(state["unit"]), float(state["responses"])
        self._probes = [{name: value.to(device) for name, value in batch.items()} for batch in state["probes"]]
