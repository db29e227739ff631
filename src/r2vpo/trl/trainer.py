"""`R2VPOTrainer`: TRL's `GRPOTrainer` with R²VPO's objective, controllers and replay of stale rollouts."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.method import Method
from r2vpo.replay import ReplayBuffer, Rollout, last_round_movement
from r2vpo.rewards.undisturbed import undisturbed
from r2vpo.trl import rounds
from r2vpo.trl.arguments import SIGNATURE, check_built, own_rollout, read_arguments, settle_sampler_dtype
from r2vpo.trl.async_loop import keep_running
from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.curriculum import ChosenPrompts
from r2vpo.trl.guards import guard_reward, no_brake_reason, note_dropout
from r2vpo.trl.plumbing import TrainingPlumbing
from r2vpo.trl.prompts import PromptBatch
from r2vpo.trl.rows import MicroBatch, collate, cut, fresh_rollouts, hold_out
from r2vpo.trl.signal import SignalWatch, describe_round, warn
from r2vpo.trl.vllm import prepare_vllm
from r2vpo.trl.watch import RunWatch

COUNTERS = ("rollouts_generated", "rollouts_reused", "tokens_generated", "non_finite_steps")


MEASURED_AGAIN = 4
"""Without replay, one row in this many is evaluated again at the start of the next round; otherwise the effect of a
whole round on the policy would be unknown. The rows are spread over all groups, and are the same for any number of
processes."""


class R2VPOTrainer(TrainingPlumbing):
    """Fine-tune a causal language model with R²VPO; used as TRL's `GRPOTrainer` is.

    A round samples a generation batch, adds stale rollouts of the last `replay.versions` rounds, evaluates the policy
    on all of them once, and makes `steps_per_round` optimizer steps. Rows of a group stay together, so that the
    training forward computes each prompt once.

    Args:
        *given: The arguments of `GRPOTrainer`, in its order; `args` is an `R2VPOConfig`. If a reward function raises
            or returns NaN, the run ends with a line that names function and row.
        **named: The same by name: `model`, `reward_funcs`, `args`, datasets, `processing_class`, `peft_config`,
            callbacks, `tools`, `environment_factory`, `rollout_func`.

    Raises:
        UserError: Training with this model or these options would be wrong.

    Source:
        R²VPO, arXiv 2601.03320. The anchor, the ascent on lambda, step-size control and the replay's rules are this
        project's (docs/objective.md).
    """

    _logs: dict[str, Any]
    # TRL initialises it to None, from which a type checker cannot infer a type.
    _buffered_inputs: list[MicroBatch] | None  # type: ignore[assignment]
    # TRL has a list, but only reads it.
    _tag_names = ("r2vpo", "trl", "grpo")  # type: ignore[assignment]
    __signature__ = SIGNATURE

    def __init__(self, *given: Any, **named: Any) -> None:
        arguments = read_arguments(given, named)
        args: R2VPOConfig = arguments["args"]
        note_dropout(arguments.get("peft_config"))
        self._own_rollout = own_rollout(arguments)
        # Only a sampler that can lag behind reports the version of each row.
        lag: int | None = getattr(arguments.get("rollout_func"), "max_lag", None)
        self._rows_have_versions, self._generating, self._attached = lag is not None, False, False
        self._rewards: Tensor | None = None
        self._router_losses: list[Tensor] = []
        self._round_stats: dict[str, float] = {}
        # TRL's own cast assumes Llama's layer names, and autocast undoes it, so the layer is cast below.
        float32_head, args.cast_lm_head_to_fp32 = args.cast_lm_head_to_fp32, False
        super().__init__(**arguments)
        check_built(self)
        if self._has_async_funcs:
            keep_running(self)
        self.reward_funcs = [
            guard_reward(function, name)
            for function, name in zip(self.reward_funcs, self.reward_func_names, strict=True)
        ]
        if self._own_rollout is not None:
            settle_sampler_dtype(self)
        if self.use_vllm:
            prepare_vllm(self)
        # TRL passes its batch to `_prepare_inputs` without reading it.
        self.data_collator = PromptBatch  # type: ignore[assignment]
        args.cast_lm_head_to_fp32 = float32_head
        own = self._own_rollout is not None
        self._settle_paths(wanted=args.shared_prefix, own_sampler=own, float32_head=float32_head)
        self.method = Method(args.method())
        reason = no_brake_reason(
            constrained=self.method.config.constraint_target is not None,
            anchor=self.method.config.anchor,
            steps_per_round=args.steps_per_round,
            versions=args.replay.versions or args.rollout_lag or lag or 0,
        )
        if reason is not None:
            warnings.warn(reason, UserWarning, stacklevel=2)
        # The router's loss also has a gradient at every row.
        self._skips = args.skip_zero_advantage and not (self.method.moves_without_advantage() or self.aux_loss_enabled)
        self.controls = self.method.controls(
            steps_per_round=args.steps_per_round,
            reduce=lambda tensor: self.accelerator.reduce(tensor, reduction="sum"),
        )
        self.replay = ReplayBuffer(args.replay, seed=args.seed + args.process_index)  # a separate stream per process
        self.chosen = None
        if args.curriculum.enabled:
            self.chosen = ChosenPrompts(self.train_dataset, args.curriculum, seed=args.seed)
        self._cut_generator = torch.Generator().manual_seed(args.seed)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.seconds = {"generating": 0.0, "training": 0.0}
        self.sampler_lag = lag or 0
        self.max_staleness = max(args.replay.versions, args.rollout_lag, self.sampler_lag)
        self.staleness_rows = [0] * (self.max_staleness + 1)
        self.measured_again: list[Rollout] = []
        self.step_lists: dict[str, Any] = {}
        self.watch = RunWatch()
        self.signal_watch = SignalWatch(warn if self.accelerator.is_main_process else lambda line: None)

    # ------------------------------------------------------------------ what TRL calls

    @property
    def round_index(self) -> int:
        """Return the number of rounds begun; the policy version that sampled the current round's rollouts."""
        return self._step // (self.args.steps_per_generation * self.num_iterations)

    def sampling_model(self) -> Any:
        """Return the current policy for sampling: a synchronised copy, or the model itself."""
        if self._own_rollout is not None:
            return self._own_rollout.model(self)
        return self.accelerator.unwrap_model(self.model)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer and let the step-size controller scale its learning rate."""
        optimizer = super().create_optimizer(*args, **kwargs)
        # DeepSpeed's inner optimizer steps once per parameter group, so the engine's step is scaled (`EngineTrainer`).
        if self.controls.step_size is not None and not self._attached and not self.is_deepspeed_enabled:
            self.controls.step_size.attach(optimizer)
            self._attached = True
        return optimizer

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        # TRL would evaluate only the fresh rows and share no prompts; the round evaluates all its rows at once.
        if self._generating:
            return None, None, None
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        with undisturbed():  # around all of them: asynchronous ones overlap, and each could restore what another set
            self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    # Its input comes from the data collator and its result goes to `_compute_loss`; both are ours.
    def _prepare_inputs(self, generation_batch: PromptBatch) -> MicroBatch:  # type: ignore[override]
        if not self.model.training:
            fresh = self._generate_rollouts(generation_batch)
            micro = collate(
                fresh,
                version=self.round_index,
                pad_token_id=self.pad_token_id,
                device=self.accelerator.device,
            )
            self._evaluate_policy([micro])
            return micro
        every = self.args.steps_per_generation * self.num_iterations
        if self._step % every == 0 or self._buffered_inputs is None:
            self._buffered_inputs = self._begin_round(generation_batch)
        return self._buffered_inputs[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: MicroBatch) -> Tensor:
        current = self._policy(model, inputs, aux_loss=self.aux_loss_enabled)
        old = inputs.old_log_probs if inputs.old_log_probs is not None else current.log_probs.detach()
        output = self.method.loss(
            log_probs=current.log_probs,
            old_log_probs=old,
            rollout_log_probs=inputs.rollout_log_probs,
            advantages=inputs.advantages,
            response_mask=inputs.response_mask,
            dual=self.controls.dual.value,
            config=self.method.config,
            normalizer=inputs.normalizer,
        )
        router = self._router_loss(current)
        if not self.model.training:
            return output.loss + router
        every = self.args.steps_per_generation * self.num_iterations
        self.controls.measure(
            output,
            entropy=current.entropy,
            staleness=inputs.staleness,
            held_out=inputs.held_out if self._step % every < self.args.steps_per_generation else None,
            max_staleness=self.max_staleness,
        )
        if self.accelerator.sync_gradients:
            self._finish_step()
        # Gradients are averaged over processes, while the normalizer is already the global one.
        loss: Tensor = output.loss * self.accelerator.num_processes + router
        return loss

    # ------------------------------------------------------------------ a round

    def _generate_rollouts(self, generation_batch: PromptBatch) -> list[Rollout]:
        """Let TRL generate and score, and unpad its rows; the advantages are computed here."""
        started = time.perf_counter()
        rows_of_prompts = generation_batch.rows
        chosen = self.chosen if self.model.training else None
        if chosen is not None:
            place = (self.accelerator.process_index, self.accelerator.num_processes)
            rows_of_prompts = chosen.next_round(len(rows_of_prompts), self.num_generations, place)
        self._generating = True
        try:
            batch = self._generate_and_score_completions(rows_of_prompts)
        finally:
            self._generating = False
        assert self._rewards is not None, "TRL scores what it generates"
        if chosen is not None:
            chosen.record(self._rewards[:, 0])
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        rewards, advantages = rounds.weigh_rewards(
            self._rewards, self.reward_weights, group_size=group_size, estimator=self.args.advantage.name
        )
        rounds.log_advantages(self._logs["advantages"], advantages)
        rows = batch["prompt_ids"].size(0)
        mine = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        version = max(self.round_index - self.args.rollout_lag, 0) if self.model.training else self.round_index
        rollouts = fresh_rollouts(
            batch,
            rewards=rewards[mine],
            advantages=advantages[mine],
            group_size=group_size,
            versions=[row["policy_version"] if self._rows_have_versions else version for row in rows_of_prompts],
            # Numbered by position in the global batch, so that no two processes share a group number.
            first_group=(self.round_index * self.accelerator.num_processes + self.accelerator.process_index)
            * (rows // group_size),
        )
        rounds.check_sampled(rollouts, self.round_index)
        if self.model.training:
            self.seconds["generating"] += time.perf_counter() - started
            self.counters["rollouts_generated"] += rows * self.accelerator.num_processes
            tokens = sum(r.response_ids.numel() for r in rollouts) * self.accelerator.num_processes
            self.counters["tokens_generated"] += tokens
            self._round_stats = rounds.round_statistics(
                rewards, advantages, tokens=tokens, seconds=time.perf_counter() - started
            ) | rounds.part_means(self._rewards, self.reward_func_names)
        return rollouts

    def _begin_round(self, generation_batch: PromptBatch) -> list[MicroBatch]:
        """Sample, add stale rows, evaluate the policy on all of them, and cut the round into micro-batches."""
        version = self.round_index
        self.replay.begin_version(version)
        fresh = self._generate_rollouts(generation_batch)
        wanted = self.replay.wanted(len(fresh)) if version else 0
        stale = self.replay.sample(wanted, version)
        pieces = cut(fresh + stale, self.args.steps_per_generation, generator=self._cut_generator)
        micros = [
            collate(piece, version=version, pad_token_id=self.pad_token_id, device=self.accelerator.device)
            for piece in pieces
        ]
        hold_out(micros, per_step=self.args.gradient_accumulation_steps)
        seen = [(id(row), row.old_log_probs) for row in stale if row.old_version == version - 1]
        before = {name: log_probs for name, log_probs in seen if log_probs is not None}
        self._evaluate_policy(micros)
        again = stale if self.replay.options.versions else self._evaluate_again(version, before)
        config = self.method.config
        rounds.set_normalizers(
            micros,
            per_step=self.args.gradient_accumulation_steps,
            by_tokens=config.aggregation == "token_mean",
            total=self._total,
        )
        self.controls.begin_round(
            rounds.round_moments(micros, anchor=config.anchor, cap=config.stale_weight_cap, level=config.level),
            last_round_movement(again, before, cap=config.stale_weight_cap, device=self.accelerator.device),
            rollouts=float(sum(row.advantage != 0 for row in fresh)),
        )
        if not self.replay.options.versions and self.controls.reads_rounds:
            self.measured_again = fresh[::MEASURED_AGAIN]
        longest = self.args.max_completion_length
        self.signal_watch.round(
            self._round_stats["signal"], lambda: describe_round(self._logs, self._round_stats, longest=longest)
        )
        self.replay.add(fresh)
        self.counters["rollouts_reused"] += int(self._total(len(stale)))
        ages = torch.tensor([row.staleness(version) for row in fresh + stale], dtype=torch.long)
        counts = self._total(torch.bincount(ages, minlength=len(self.staleness_rows)).float()).tolist()
        self.staleness_rows = [before + int(now) for before, now in zip(self.staleness_rows, counts, strict=True)]
        return micros

    def _evaluate_again(self, version: int, before: dict[int, Tensor]) -> list[Rollout]:
        """Evaluate some of the last round's rows, without training on them again, to measure that round as a whole.

        Args:
            version: The round that begins.
            before: Receives their log-probs at the last round's start, by `id(row)`.

        Returns:
            The rows.
        """
        rows = self.measured_again
        before |= {id(row): row.old_log_probs for row in rows if row.old_log_probs is not None}
        for start in range(0, len(rows), self.args.per_device_train_batch_size):
            piece = rows[start : start + self.args.per_device_train_batch_size]
            device = self.accelerator.device
            self._evaluate_policy([collate(piece, version=version, pad_token_id=self.pad_token_id, device=device)])
        return rows

    @torch.no_grad()
    def _evaluate_policy(self, micros: list[MicroBatch]) -> None:
        """Write the policy's log-probs at the round's start into the micro-batches and their rows."""
        for micro in micros:
            log_probs = self._policy(self.model, micro).log_probs
            rounds.remember_policy(micro, log_probs, version=self.round_index)

    def _finish_step(self) -> None:
        metrics = self.controls.finish_step()
        every = self.args.steps_per_generation * self.num_iterations
        if self._step % every < self.args.gradient_accumulation_steps:
            self.watch.first_step(self.controls.movement)
        self.step_lists = {name: value for name, value in metrics.items() if isinstance(value, list)}
        self.step_lists["staleness_rows"] = list(self.staleness_rows)
        if self.chosen is not None:
            self.step_lists |= self.chosen.described()
        numbers = {name: value for name, value in metrics.items() if not isinstance(value, list)}
        if self.controls.step_size is None:
            assert self.optimizer is not None, "an optimizer step has an optimizer"
            # Prodigy manages the factor on its rate itself.
            numbers["step_scale"] = float(self.optimizer.param_groups[0].get("d", 1.0))
        statistics = self.replay.statistics()
        numbers |= {"round": float(self.round_index)}
        numbers |= {"replay_rows": float(statistics.rows), "replay_bytes": float(statistics.bytes)}
        numbers |= {name: float(value) for name, value in self.counters.items()}
        numbers |= {f"seconds_{name}": value for name, value in self.seconds.items()}
        for name, value in numbers.items() | self._round_stats.items():
            self._metrics["train"][name] = [value]
