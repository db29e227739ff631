"""`R2VPODPOTrainer`: TRL's `DPOTrainer`, any of its losses, under a constraint on the ratio variance per decision."""

from __future__ import annotations

import inspect
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from trl import DPOTrainer
from trl.models.utils import disable_gradient_checkpointing
from trl.trainer.utils import add_fused_lm_head

from r2vpo.core.log_probs.support import base_model
from r2vpo.core.preferences import chi_po_scores, given_decisions, loss_advantages
from r2vpo.errors import UserError
from r2vpo.replay import snapshot
from r2vpo.trl.checkpoint import state_path
from r2vpo.trl.dpo.batches import (
    REFERENCE,
    Batch,
    Evaluated,
    Start,
    Through,
    model_columns,
    pairs,
    response_mask,
    trl_columns,
)
from r2vpo.trl.dpo.config import R2VPODPOConfig
from r2vpo.trl.dpo.refusals import check_built
from r2vpo.trl.dpo.rounds import PreferenceRounds
from r2vpo.trl.finite_steps import FiniteSteps
from r2vpo.trl.guards import note_dropout
from r2vpo.trl.watch import RunWatch
from r2vpo.trl.whole_checkpoints import WholeCheckpoints

OUTPUTS = ("log_probs", "entropy", "mean_logits", "is_top1", "log_sum_sq_probs")
"""What the fused head computes: all that TRL's loss reads, and the sum of squares for the decisions."""

_SIGNATURE = inspect.signature(DPOTrainer)

Step = tuple[list[Batch], Any]
"""The micro-batches of an optimizer step, and transformers' count of their items."""


class R2VPODPOTrainer(FiniteSteps, WholeCheckpoints, DPOTrainer):
    """Train on preferences under a trust region; used as TRL's `DPOTrainer` is.

    A round is `steps_per_round` optimizer steps. At its start, the policy and the reference are evaluated once on the
    round's pairs. The gradient of the loss then acts as the advantage of each token of both responses, under the same
    constraint, multiplier, brake and step control as in `R2VPOTrainer` (docs/objective.md, section 10).

    Args:
        *given: The arguments of `DPOTrainer`, in its order; `args` is an `R2VPODPOConfig`.
        **named: The same by name: `model`, `ref_model`, `args`, datasets, `processing_class`, `peft_config`, callbacks.

    Raises:
        UserError: Training with this model or these options would be wrong.

    Source:
        DPO (2305.18290) and the other losses as in TRL; the constraint as in R²VPO (2601.03320). Their combination is
        ours.
    """

    args: R2VPODPOConfig
    model: Any
    _tag_names = ["r2vpo", "trl", "dpo"]  # noqa: RUF012 - as TRL has it
    __signature__ = _SIGNATURE

    def __init__(self, *given: Any, **named: Any) -> None:
        arguments = dict(_SIGNATURE.bind(*given, **named).arguments)
        config = arguments.get("args")
        if config is not None and not isinstance(config, R2VPODPOConfig):
            raise UserError(
                f"args is a {type(config).__name__}: R2VPODPOTrainer takes an R2VPODPOConfig, which has every option "
                "of TRL's DPOConfig; build one with the same options"
            )
        arguments["args"] = R2VPODPOConfig("r2vpo-dpo") if config is None else config
        note_dropout(arguments.get("peft_config"))
        super().__init__(**arguments)
        check_built(self)
        # Around TRL's own head, which does not compute the sum of squares unless a loss asks for it.
        add_fused_lm_head(base_model(self.model), outputs=OUTPUTS)
        self.rounds = PreferenceRounds(
            self.args.preferences(),
            dual=self.args.dual,
            step_control=self.args.step_control,
            reduce=self._total,
            processes=self.accelerator.num_processes,
        )
        self.controls = self.rounds.controls
        self.counters, self.watch = {"non_finite_steps": 0}, RunWatch()
        self._waiting: deque[Step] = deque()
        self._source: Iterator[Batch] | None = None
        # Of a round in progress that a checkpoint has: for each step its micro-batches, with what is known of them.
        self._in_progress: list[list[Batch]] = []

    # ------------------------------------------------------------------ what TRL and transformers call

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer and let the step-size controller scale its learning rate."""
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        step_size = self.controls.step_size
        if step_size is not None and not step_size.scales(optimizer):
            step_size.attach(optimizer)
        return optimizer

    def get_batch_samples(self, epoch_iterator: Any, num_batches: int, device: torch.device) -> Step:
        """Return the micro-batches of the next optimizer step; at a round's start, fetch the round and begin it."""
        if epoch_iterator is not self._source:
            self._source = epoch_iterator
            self._waiting.clear()
        if not self._waiting:
            self._fetch_round(epoch_iterator, num_batches, device)
        return self._waiting.popleft() if self._waiting else ([], None)

    def _compute_loss(self, model: Any, inputs: Batch, return_outputs: bool) -> Any:
        start = Start.of(inputs) if self.model.training else None
        if start is None:  # an evaluation
            if self.args.link != "chi_po":
                return super()._compute_loss(model, trl_columns(inputs), return_outputs)
            with self._for_evaluation():
                return self._linked_loss(model, trl_columns(inputs) | self._reference(inputs), None, return_outputs)
        mask = response_mask(inputs)
        # The loss is a mean over the pairs of this micro-batch, and is then averaged over those of the step.
        scale = float(pairs(inputs) * self.current_gradient_accumulation_steps)

        def hold(log_probs: Tensor) -> Tensor:
            self.rounds.measure(log_probs, start, mask)
            return self.rounds.hold(log_probs, start, mask, scale)

        columns = trl_columns(inputs)
        if self.args.sync_ref_model:  # the reference changes within a round
            columns |= self._reference(inputs)
        loss = self._linked_loss(model, columns, hold, return_outputs)
        if self.accelerator.sync_gradients:
            for name, value in (self.rounds.finish_step() | self.counters).items():
                self._metrics["train"][name] = [float(value)]
        return loss

    # ------------------------------------------------------------------ the loss

    def _linked_loss(self, model: Any, columns: Batch, hold: Any, return_outputs: bool = False) -> Any:
        """Let TRL compute its loss, of log-probs that `hold` has seen and with the scores of the link.

        Args:
            model: The policy.
            columns: TRL's columns, with those of the reference.
            hold: Given log-probs, returns those from which the loss is computed; None leaves them as they are.
            return_outputs: As in TRL.
        """

        def change(output: Any) -> None:
            if hold is not None:
                output.log_probs = hold(output.log_probs)
            if self.args.link == "chi_po":
                self._set_scores(columns, output.log_probs)

        known, self.precompute_ref_logps = self.precompute_ref_logps, True
        try:
            return super()._compute_loss(Through(model, change), columns, return_outputs)
        finally:
            self.precompute_ref_logps = known

    def _set_scores(self, columns: Batch, log_probs: Tensor) -> None:
        """Put in place of the reference what leaves TRL with the scores of chi-PO as its log-ratios.

        TRL's log-ratio is `log pi - log pi_ref`; with `log pi - score` as the reference it is the score.
        """
        sides = log_probs.sum(dim=1).chunk(2, dim=0)
        reference = [columns[name] for name in REFERENCE]
        chosen, rejected = (side - known for side, known in zip(sides, reference, strict=True))
        scores = chi_po_scores(chosen, rejected, beta=self.beta, reward_bound=self.args.reward_bound)
        columns.update({name: side - score for name, side, score in zip(REFERENCE, sides, scores, strict=True)})

    def _reference(self, batch: Batch) -> Batch:
        """Return the reference's log-probs of the responses, those of the data set if they were computed before."""
        if self.precompute_ref_logps:
            return {name: batch[name] for name in REFERENCE}
        model = self.model if self.ref_model is None else self.ref_model
        return dict(zip(REFERENCE, self.compute_ref_log_probs(model, trl_columns(batch)), strict=True))

    # ------------------------------------------------------------------ rounds

    def _fetch_round(self, source: Any, num_batches: int, device: torch.device) -> None:
        """Fetch the micro-batches of a round, or of the rest of one that a checkpoint has, and begin it."""
        saved, self._in_progress = self._in_progress, []
        left = max(self.state.max_steps - self.state.global_step, 1)
        steps: list[Step] = []
        for _ in range(len(saved) or min(self.args.steps_per_round, left)):
            each = self.args.gradient_accumulation_steps if steps else num_batches
            step = super().get_batch_samples(source, each, device)
            if not step[0]:
                break
            steps.append(step)
        batches = [batch for samples, _ in steps for batch in samples]
        if not batches:
            return
        self._waiting.extend(steps)
        known = [batch for step in saved for batch in step]
        if saved and self._all_agree(len(known) == len(batches) and all(map(_same_rows, known, batches))):
            for batch, before in zip(batches, known, strict=True):
                batch.update({name: value.to(batch["input_ids"].device) for name, value in before.items()})
            return
        self._begin(batches, steps=len(steps))

    def _begin(self, batches: list[Batch], *, steps: int) -> None:
        """Begin a round on its micro-batches: measure the last one, evaluate policy and reference, set the controls."""
        self.model.train()
        last = self.rounds.measure_last(self._log_probs)
        for batch in batches:
            self._start(batch)
        self.rounds.begin(batches, last, steps)

    def _all_agree(self, holds: bool) -> bool:
        """Tell whether something holds in every process, as all have to begin a round, or none."""
        return float(self._total(torch.tensor(float(not holds)))) == 0

    def _start(self, batch: Batch) -> None:
        """Evaluate policy and reference on a micro-batch, and add what is then known to it."""
        if not self.args.sync_ref_model:
            batch.update(self._reference(batch))
            reference: Batch = {}
        else:
            reference = self._reference(batch)
        evaluated, mask = Evaluated(self.model), response_mask(batch)
        with self._apart(), self._for_evaluation():
            loss = self._linked_loss(evaluated, batch | reference, None)
        output = evaluated.output
        Start(
            old_log_probs=output.log_probs.detach(),
            decisions=given_decisions(output.log_probs, output.log_sum_sq_probs, mask),
            advantages=loss_advantages(loss, output.log_probs, mask, pairs(batch)),
        ).into(batch)

    def _log_probs(self, batch: Batch) -> Tensor:
        """Compute the policy's log-probs of a micro-batch, without gradient."""
        with torch.no_grad(), self._for_evaluation():
            found: Tensor = self.model(**model_columns(batch)).log_probs
        return found

    @contextmanager
    def _for_evaluation(self) -> Iterator[None]:
        """Compute in the precision of training, without storing activations in another way than by default."""
        options: Any = self.args.gradient_checkpointing_kwargs
        with self.compute_loss_context_manager(), disable_gradient_checkpointing(self.model, options):
            yield

    @contextmanager
    def _apart(self) -> Iterator[None]:
        """Keep what TRL logs of a loss out of its log."""
        metrics, tokens = self._metrics, self._total_train_tokens
        self._metrics = {mode: defaultdict(list) for mode in metrics}
        try:
            yield
        finally:
            self._metrics, self._total_train_tokens = metrics, tokens

    def _method_state(self) -> dict[str, Any]:
        moved = self._moved_reference() if self.accelerator.is_main_process else {}
        waiting = [
            [{name: value.cpu() for name, value in batch.items()} for batch in step] for step, _ in self._waiting
        ]
        return {
            "rounds": self.rounds.state_dict(),
            "waiting": waiting,
            "tokens": self._total_train_tokens,
            "counters": dict(self.counters),
            "processes": self.accelerator.num_processes,
            # A reference that follows the policy is no longer the one that the trainer was given.
            "reference": {name: weight.cpu() for name, weight in moved.items()},
        }

    def _moved_reference(self) -> dict[str, Tensor]:
        """Return the reference's weights if training changes them (`sync_ref_model`), otherwise nothing."""
        if not self.args.sync_ref_model:
            return {}
        reference = self.accelerator.unwrap_model(self.ref_model)
        return {name: weight.detach() for name, weight in reference.named_parameters()}

    def _read_method_state(self, checkpoint: str) -> dict[str, Any]:
        own, first = (state_path(checkpoint, place) for place in (self.accelerator.process_index, 0))
        # A process that did not take part in writing it has no file, and learns from another's how many did.
        state: dict[str, Any] = snapshot.load(own if own.exists() else first)
        if state["processes"] != self.accelerator.num_processes:
            raise UserError(
                f"{checkpoint} was written by {state['processes']} processes and this run has "
                f"{self.accelerator.num_processes}: resume with {state['processes']} processes"
            )
        if self.args.sync_ref_model:
            state["reference"] = (state if own == first else snapshot.load(first)).get("reference")
            if not state["reference"]:
                raise UserError(
                    f"{checkpoint} does not have the weights of the reference, which sync_ref_model=True changes: set "
                    "sync_ref_model=False if it was written so, or start a new run"
                )
        return state

    def _restore_method_state(self, state: dict[str, Any]) -> None:
        self.rounds.load_state_dict(state["rounds"], self.accelerator.device)
        self._in_progress, self._total_train_tokens = state["waiting"], state["tokens"]
        self.counters = state["counters"]
        with torch.no_grad():
            for name, weight in self._moved_reference().items():
                weight.copy_(state["reference"][name])

    def _total(self, value: Tensor) -> Tensor:
        total: Tensor = self.accelerator.reduce(value.to(self.accelerator.device), reduction="sum")
        return total


def _same_rows(saved: Batch, fetched: Batch) -> bool:
    """Tell whether a micro-batch that a checkpoint has is the one that was fetched."""
    return torch.equal(saved["input_ids"], fetched["input_ids"].cpu())
