"""One round of R²VPO, top to bottom: what happens to sampled groups until the optimizer steps.

    for each round k:
        fresh  = groups sampled by pi_k, with rewards and advantages            (the caller)
        stale  = groups of the last `versions` rounds, drawn from the replay     begin_round
        drawn  = groups of other runs, drawn from a store if there is one        begin_round
        pi_k   = the policy's log-probs on all rows, before any step             begin_round
        A per token, from the values at that time if there is a critic           begin_round
        T, lambda = trust radius and multiplier of this round                    begin_round
        for each optimizer step:
            for each of its micro-batches:
                r    = pi / pi_k per token; w = min(pi_k / mu, cap)              loss
                loss = -mean(w (objective(r, A) - lambda (r - 1)^2))             loss
                backward                                                         (the caller)
            lambda and the step size follow V_d against T                        finish_step
            optimizer step, scaled by the step size                              (the caller)

The formulas are in `r2vpo.core`, and docs/objective.md derives them. The caller, such as `r2vpo.trl.R2VPOTrainer`, owns
the model, the sampler and the optimizer.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.log_probs.values import TokenLogProbs
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.types import LossOutput
from r2vpo.core.validation import check_state
from r2vpo.learner.checks import check_round, checked
from r2vpo.learner.critic import Critic
from r2vpo.learner.micro_batch import MicroBatch, RoundShape, collate, cut, hold_out, in_parts, placed, set_normalizers
from r2vpo.learner.round_start import measured_again, remember_policy, round_moments
from r2vpo.replay.buffer import ReplayBuffer
from r2vpo.replay.group import Group, divide, each_row, rows_of
from r2vpo.replay.last_round import last_round_movement, log_probs_of_round
from r2vpo.replay.others import OtherRuns
from r2vpo.replay.packing import pack, unpack


class Learner:
    """The part of a round between sampling and the optimizer.

    Args:
        loss: The objective, such as `Method.loss`.
        config: Its options, `Method.config`.
        controls: Controllers of lambda and the step size, `Method.controls`; the caller attaches the step size to the
            optimizer.
        replay: The buffer of stale groups.
        shape: How the rows of a round are divided.
        forward: `forward(model, micro, **options)` computes the `TokenLogProbs`, (B, T) each, of `micro.batch`: row i
            is the response `response_ids[i]` to the prompt `prompt_ids[group_index[i]]`. On padding they may be any
            finite numbers. Without dropout: each pass would compute another policy.
        total: Sums a tensor over all processes; with one process it returns the tensor.
        skips: Compute rows without an advantage without a backward pass; not if `Method.moves_without_advantage`.
        max_staleness: The most versions that a row can be behind, at least the `versions` of the replay.
        pad_token_id: Id that fills the padding.
        device: Where the model computes.
        seed: Seed of the order in which a round's groups are cut into micro-batches.
        critic: Options of a critic: `forward` must then return values, from which the advantages are computed, and
            nothing is skipped. None without one.

    Attributes:
        micros: The micro-batches of one pass over the present round; empty before the first.
        version: The policy version that sampled the present round.
        measured_again: Groups of the last round that are evaluated again at the start of the next.
        staleness_rows: Rows trained on so far by versions behind, over all processes.
        others: Rollouts of other runs that are trained on too; None if there are none. They count as `max_staleness`
            versions behind.
        critic: The critic's part of the rounds. While it `warms_up`, `forward` keeps its gradient from the policy.

    Raises:
        ValueError: `max_staleness` is less than the replay's `versions`.
    """

    def __init__(
        self,
        loss: Callable[..., LossOutput],
        config: ObjectiveConfig,
        controls: Controls,
        replay: ReplayBuffer,
        shape: RoundShape,
        *,
        forward: Callable[..., TokenLogProbs],
        total: Callable[[Tensor], Tensor],
        skips: bool,
        max_staleness: int,
        pad_token_id: int,
        device: torch.device,
        seed: int,
        critic: CriticOptions | None = None,
    ) -> None:
        if max_staleness < replay.options.versions:
            raise ValueError(
                f"max_staleness = {max_staleness} is less than replay.versions = {replay.options.versions}: raise it"
            )
        self.objective, self.config, self.controls, self.replay, self.shape = loss, config, controls, replay, shape
        self.critic = Critic(critic or CriticOptions(), config, total)
        self._forward, self._total, self.skips = forward, total, skips and not self.critic.enabled
        self.max_staleness, self._pad, self._device = max_staleness, pad_token_id, device
        self._order = torch.Generator().manual_seed(seed)
        self.micros: list[MicroBatch] = []
        self.measured_again: list[Group] = []
        self.version = 0
        self.staleness_rows = [0] * (max_staleness + 1)
        self.others: OtherRuns | None = None

    def collate(self, groups: list[Group], version: int) -> MicroBatch:
        """Pad groups to a micro-batch on the model's device; see `r2vpo.learner.micro_batch.collate`."""
        return collate(groups, version=version, pad_token_id=self._pad, device=self._device)

    # ------------------------------------------------------------------ a round's start

    def begin_round(self, model: Any, fresh: list[Group], version: int) -> int:
        """Add stale groups, evaluate the policy on all rows, cut them into micro-batches, and start the controls.

        Args:
            model: The policy, before the round's first step; passed on to `forward`.
            fresh: This process's groups, sampled by the present policy or, with a sampler that lags, by an earlier one.
            version: The round's number, not lower than the last.

        Returns:
            The stale rows that the round trains on, over all processes.

        Raises:
            ValueError: Rows are too few, or a version or the shape of what `forward` returned does not fit.
        """
        check_round(fresh, version=version, max_staleness=self.max_staleness, micro_batches=self.shape.micro_batches)
        self.critic.check(fresh, version)
        self.version = version
        self.replay.begin_version(version)
        stale = self.replay.sample(self.replay.wanted(sum(map(len, fresh))) if version else 0, version)
        drawn = [] if self.others is None else self.others.draw(len(rows_of(fresh)), version - self.max_staleness)
        parts = cut(fresh + stale + drawn, self.shape.micro_batches, generator=self._order)
        self.micros = [self.collate(part, version) for part in parts]
        hold_out(self.micros, per_step=self.shape.per_step)
        # Rows that the last round has trained on are known at its start and now at its end.
        again = stale if self.replay.options.versions else self.measured_again
        before = {} if self.critic.warmed_up(version - 1) else log_probs_of_round(rows_of(again), version - 1)
        self.critic.version = version
        self.evaluate(model, self.micros)
        if self.others is not None:
            self.others.measure(drawn)
        if not self.replay.options.versions:
            self._evaluate_again(model)
        informative = self.critic.begin_round(self.micros, rows_of(fresh), self.shape.processes)
        config, by_tokens = self.config, self.config.aggregation == "token_mean"
        set_normalizers(self.micros, per_step=self.shape.per_step, by_tokens=by_tokens, total=self._total)
        self.controls.begin_round(
            round_moments(self.micros, config),
            last_round_movement(rows_of(again), before, cap=config.stale_weight_cap, device=self._device),
            rollouts=informative,
        )
        if not self.replay.options.versions and self.controls.reads_rounds:
            self.measured_again = measured_again(fresh)
        self.replay.add(fresh, critic=self.critic.enabled)
        return self._count(fresh, stale + drawn)

    def _evaluate_again(self, model: Any) -> None:
        """Evaluate some of the last round's rows, without training on them again, to measure that round as a whole."""
        rows = sum(map(len, self.measured_again))
        for part in divide(self.measured_again, [*range(0, rows, self.shape.rows), rows]):
            self.evaluate(model, [self.collate(part, self.version)])

    def _count(self, fresh: list[Group], stale: list[Group]) -> int:
        ages = each_row(fresh + stale, lambda group: group.staleness(self.version))
        counts = self._total(torch.bincount(torch.tensor(ages), minlength=len(self.staleness_rows)).float()).tolist()
        self.staleness_rows = [before + int(now) for before, now in zip(self.staleness_rows, counts, strict=True)]
        return int(self._total(torch.tensor(float(len(rows_of(stale))))))

    @torch.no_grad()
    def evaluate(self, model: Any, micros: list[MicroBatch]) -> None:
        """Write the policy's log-probs and the values at the round's start into the micro-batches and their rows."""
        for micro in micros:
            remember_policy(micro, self.policy(model, micro), version=self.version)

    # ------------------------------------------------------------------ a micro-batch

    def policy(self, model: Any, micro: MicroBatch, **options: Any) -> TokenLogProbs:
        """Compute log-probs of a micro-batch's responses, with a gradient for rows whose advantage needs one.

        A round's start calls this without gradient and `loss` with it, in the same passes over the same rows: with
        equal weights the results are bitwise equal.

        Args:
            model: The policy.
            micro: B rows.
            options: Passed on to `forward`.

        Returns:
            What `forward` returns, (B, T) each.

        Raises:
            ValueError: It returned another shape.
        """
        if not (self.skips and model.training):
            return checked(self._forward(model, micro, **options), micro, critic=self.critic.enabled)
        if micro.parts is None:
            micro.parts = in_parts(micro, pad_token_id=self._pad, processes=self.shape.processes)
        log_probs = entropy = torch.zeros_like(micro.rollout_log_probs)
        for part in micro.parts:
            with torch.set_grad_enabled(part.trained and torch.is_grad_enabled()):
                values = checked(self._forward(model, part.micro, **options), part.micro, critic=False)
            log_probs = placed(log_probs, part.places, values.log_probs)
            entropy = placed(entropy, part.places, values.entropy)
        return TokenLogProbs(log_probs=log_probs, entropy=entropy)

    def loss(self, current: TokenLogProbs, micro: MicroBatch, *, first_pass: bool, train: bool = True) -> Tensor:
        """Compute the loss of a micro-batch, and add its ratios to what the controls know of the optimizer step.

        Args:
            current: Result of `policy`.
            micro: The rows.
            first_pass: Whether the round's rows are trained on for the first time in this round.
            train: Whether a step follows; in an evaluation nothing is added, also not the value loss of a critic.

        Returns:
            0-d, the sum over the step's micro-batches and processes being the step's loss; with gradient.
        """
        output = self.objective(
            log_probs=current.log_probs,
            old_log_probs=current.log_probs.detach() if micro.old_log_probs is None else micro.old_log_probs,
            rollout_log_probs=micro.rollout_log_probs,
            advantages=micro.advantages,
            response_mask=micro.response_mask,
            dual=self.controls.dual.value,
            config=self.config,
            normalizer=micro.normalizer,
        )
        if train:
            self.controls.measure(
                output,
                entropy=current.entropy,
                staleness=micro.staleness,
                held_out=micro.held_out if first_pass else None,
                # A first pass of one step has nothing to measure, since the policy has not moved yet.
                repeated=not first_pass and len(self.micros) > self.shape.per_step,
                max_staleness=self.max_staleness,
            )
        return self.critic.loss(output.loss, current, micro) if train else output.loss

    def finish_step(self) -> dict[str, Any]:
        """End an optimizer step after its last micro-batch, before the optimizer: lambda and step size follow V_d.

        Returns:
            The step's diagnostics and what the replay holds, by the names of docs/metrics.md.
        """
        statistics = self.replay.statistics()
        measured = self.controls.finish_step(trained=not self.critic.warms_up) | self.critic.finish_step()
        return measured | {
            "round": float(self.version),
            "replay_rows": float(statistics.rows),
            "replay_bytes": float(statistics.bytes),
            "staleness_rows": list(self.staleness_rows),
        }

    # ------------------------------------------------------------------ checkpoints

    def state_dict(self, *, in_progress: bool) -> dict[str, Any]:
        """Return everything that the next step depends on, as tensors, numbers and dicts.

        Args:
            in_progress: Whether the present round has further steps.
        """
        return {
            "controls": self.controls.state_dict(),
            "replay": self.replay.state_dict(),
            "cut_generator": self._order.get_state(),
            "staleness_rows": list(self.staleness_rows),
            "measured_again": pack(self.measured_again),
            "round": [micro.packed() for micro in self.micros] if in_progress else None,
        } | self.critic.state_dict()

    def load_state_dict(self, state: dict[str, Any], *, version: int) -> None:
        """Resume from the result of `state_dict`.

        Args:
            state: It.
            version: The present round.

        Raises:
            ValueError: A key is missing; or the state of the controls is of an earlier version of r2vpo.
            UserError: That of the replay is damaged or does not fit; see `ReplayBuffer.load_state_dict`.
        """
        check_state("learner", state, self.state_dict(in_progress=False))
        self.version = version
        self.controls.load_state_dict(state["controls"])
        self.replay.load_state_dict(state["replay"])
        self._order.set_state(state["cut_generator"])
        self.staleness_rows = state["staleness_rows"]
        self.measured_again = unpack(state["measured_again"])
        self.critic.load_state_dict(state, version=version)
        self.micros = [self.collate(unpack(one["rows"]), version).restored(one) for one in state["round"] or ()]
        hold_out(self.micros, per_step=self.shape.per_step)
