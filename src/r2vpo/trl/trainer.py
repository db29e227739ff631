"""`R2VPOTrainer`: TRL's `GRPOTrainer` as the outer loop, and R²VPO's `Learner` in each round."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from r2vpo.core.method import Method
from r2vpo.learner import Learner, MicroBatch, RoundShape
from r2vpo.optional import require_store
from r2vpo.replay import Group, ReplayBuffer
from r2vpo.replay.group import rows_of
from r2vpo.sampling.sampler import Progress
from r2vpo.trl import groups
from r2vpo.trl.arguments import SIGNATURE, check_built, own_rollout, read_arguments, settle_sampler_dtype
from r2vpo.trl.async_loop import keep_running
from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.console import show_short_lines
from r2vpo.trl.critic import TrainedCritic
from r2vpo.trl.curriculum import ChosenPrompts
from r2vpo.trl.guards import guard_reward, no_brake_reason, note_dropout
from r2vpo.trl.plumbing import TrainingPlumbing
from r2vpo.trl.prompts import PromptBatch
from r2vpo.trl.sampled import ShowSample, telling_group
from r2vpo.trl.signal import SignalWatch, describe_round, warn
from r2vpo.trl.vllm import prepare_vllm
from r2vpo.trl.watch import RunWatch

if TYPE_CHECKING:
    from r2vpo.trl.stored import StoredRollouts

COUNTERS = ("rollouts_generated", "rollouts_reused", "rollouts_used_again", "tokens_generated", "non_finite_steps")


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
    # TRL initialises it to None, and buffers here what a round trains on; the learner does.
    _buffered_inputs: None
    # TRL has a list, but only reads it.
    _tag_names = ("r2vpo", "trl", "grpo")  # type: ignore[assignment]
    __signature__ = SIGNATURE

    def __init__(self, *given: Any, **named: Any) -> None:
        arguments = read_arguments(given, named)
        args: R2VPOConfig = arguments["args"]
        note_dropout(arguments.get("peft_config"))
        self.own_rollout = own_rollout(arguments)
        # Only a sampler that can lag behind reports the version of each row.
        self.sampler_lag: int | None = getattr(arguments.get("rollout_func"), "max_lag", None)
        # TRL's own cast assumes Llama's layer names, and autocast undoes it, so the layer is cast below.
        float32_head, args.cast_lm_head_to_fp32 = args.cast_lm_head_to_fp32, False
        super().__init__(**arguments)
        args.cast_lm_head_to_fp32 = float32_head
        check_built(self)
        show_short_lines(self)
        if self._has_async_funcs:
            keep_running(self)
        self.stored = self._stored() if args.replay.store is not None else None  # which reads the functions' sources
        self.reward_funcs = [
            guard_reward(function, name)
            for function, name in zip(self.reward_funcs, self.reward_func_names, strict=True)
        ]
        if self.own_rollout is not None:
            settle_sampler_dtype(self)
        if self.use_vllm:
            prepare_vllm(self)
        # TRL passes its batch to `_prepare_inputs` without reading it.
        self.data_collator = PromptBatch  # type: ignore[assignment]
        self._settle_paths(
            wanted=args.shared_prefix, own_sampler=self.own_rollout is not None, float32_head=float32_head
        )
        self.critic = TrainedCritic(self) if args.critic.enabled else None
        self.chosen = None
        if args.curriculum.enabled:
            self.chosen = ChosenPrompts(self.train_dataset, args.curriculum, seed=args.seed)
        self.counters = dict.fromkeys(COUNTERS, 0)
        self.seconds = {"generating": 0.0, "training": 0.0}
        self.round_statistics: dict[str, float] = {}
        self.step_lists: dict[str, Any] = {}
        # The rows of the data of the last sampled groups, and their scores by function; kept for a store.
        self.columns_of_sample: tuple[list[dict[str, Any]], list[list[dict[str, float]]]] = [], []
        # For displays: what is being done (generating, scoring, training, saving), and how far the sampling is.
        self.on_phase: Callable[[str], None] = lambda phase: None
        self.on_sampled: Progress = lambda *counts: None
        self.watch = RunWatch()
        self.show_sample: ShowSample | None = None
        self.signal_watch = SignalWatch(
            warn if self.accelerator.is_main_process else lambda line: None, in_groups=self.critic is None
        )
        self.method = Method(args.method())
        self.learner = self._learner()
        self.controls, self.replay = self.learner.controls, self.learner.replay

    def _stored(self) -> StoredRollouts:
        require_store()
        from r2vpo.trl.stored import StoredRollouts

        return StoredRollouts(self)

    def _learner(self) -> Learner:
        """Build what happens in a round between sampling and the optimizer."""
        args, method = self.args, self.method
        lag = args.rollout.lag or self.sampler_lag or int(args.replay.collect)
        reason = no_brake_reason(
            constrained=method.config.constraint_target is not None,
            anchor=method.config.anchor,
            steps_per_round=args.steps_per_round,
            versions=args.replay.versions or lag,
        )
        if reason is not None:
            warnings.warn(reason, UserWarning, stacklevel=3)
        return Learner(
            method.loss,
            method.config,
            method.controls(steps_per_round=args.steps_per_round, reduce=self._total),
            ReplayBuffer(args.replay, seed=args.seed + self.accelerator.process_index),  # a separate stream per process
            RoundShape(
                micro_batches=args.steps_per_generation,
                per_step=args.gradient_accumulation_steps,
                rows=args.per_device_train_batch_size,
                processes=self.accelerator.num_processes,
            ),
            forward=self._forward,
            total=self._total,
            # The router's loss also has a gradient at every row.
            skips=args.skip_zero_advantage and not (method.moves_without_advantage() or self.aux_loss_enabled),
            # Rollouts of other runs count as one version older than any of this run's.
            max_staleness=max(args.replay.versions, lag) + (args.replay.from_ is not None),
            pad_token_id=self.pad_token_id,
            device=self.accelerator.device,
            seed=args.seed,
            critic=args.critic if args.critic.enabled else None,
        )

    # ------------------------------------------------------------------ what others read

    @property
    def micro_batches_per_round(self) -> int:
        """Micro-batches of a round, over all passes."""
        return int(self.args.steps_per_generation * self.num_iterations)

    @property
    def round_index(self) -> int:
        """Return the number of rounds begun; the policy version that sampled the current round's rollouts."""
        return self._step // self.micro_batches_per_round

    def sampling_model(self) -> Any:
        """Return the current policy for sampling: a synchronised copy, or the model itself."""
        if self.own_rollout is not None:
            return self.own_rollout.model(self)
        return self.accelerator.unwrap_model(self.model)

    # ------------------------------------------------------------------ what TRL calls

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer and let the step-size controller scale its learning rate."""
        optimizer = super().create_optimizer(*args, **kwargs)
        step_size = self.controls.step_size
        # DeepSpeed's inner optimizer steps once per parameter group, so the engine's step is scaled (`EngineTrainer`).
        if step_size is not None and not self.is_deepspeed_enabled and not step_size.scales(optimizer):
            step_size.attach(optimizer)
        return optimizer

    # Its input comes from the data collator and its result goes to `_compute_loss`; both are ours.
    def _prepare_inputs(self, generation_batch: PromptBatch) -> MicroBatch:  # type: ignore[override]
        """Return the next micro-batch; at a round's start, sample the round and begin it."""
        if not self.model.training:
            micro = self.learner.collate(self._sample(generation_batch), self.round_index)
            self.learner.evaluate(self.model, [micro])
            return micro
        if self._step % self.micro_batches_per_round == 0 or not self.learner.micros:
            fresh = self._sample(generation_batch) if self.stored is None else self.stored.sample(generation_batch)
            self.counters["rollouts_reused"] += self.learner.begin_round(self.model, fresh, self.round_index)
            if self.stored is not None:
                self.round_statistics |= self.stored.write_round()
            if "rollouts_used_again" in self.counters:  # a run resumed from an earlier checkpoint does not know it
                drawn = [group for micro in self.learner.micros for group in micro.groups]
                self.counters["rollouts_used_again"] += int(self._total(sum(len(g) for g in drawn if g.uses == 1)))
            self.signal_watch.round(self.round_statistics["signal"], self._described)
        return self.learner.micros[self._step % self.args.steps_per_generation]

    def _compute_loss(self, model: Any, inputs: MicroBatch) -> Tensor:
        current = self.learner.policy(model, inputs, aux_loss=self.aux_loss_enabled)
        first_pass = self._step % self.micro_batches_per_round < self.args.steps_per_generation
        loss = self.learner.loss(current, inputs, first_pass=first_pass, train=self.model.training)
        if not self.model.training:
            return loss + self._router_loss(current)
        router = self._router_loss(current)
        if self.accelerator.sync_gradients:
            self._finish_step()
        # Gradients are averaged over processes, while the normalizer is already the global one.
        total: Tensor = loss * self.accelerator.num_processes + router
        return total

    # ------------------------------------------------------------------ the rounds' groups and log

    def _sample(self, prompts: PromptBatch) -> list[Group]:
        """Let TRL generate and score, and compute the advantages of the groups."""
        started, training = time.perf_counter(), self.model.training
        self.on_phase("generating")
        place, processes = self.accelerator.process_index, self.accelerator.num_processes
        group_size = self.num_generations if training else self.num_generations_eval
        rows = prompts.rows
        chosen = self.chosen if training else None
        if chosen is not None:
            rows = chosen.next_round(len(rows), group_size, (place, processes))
        batch = self._generate_and_score_completions(rows)
        scores = batch["scores"]
        if chosen is not None:
            chosen.record(scores[:, 0])
        rewards, advantages = groups.weigh_rewards(
            scores, self.reward_weights, group_size=group_size, estimator=self.args.advantage.name
        )
        scored = ~torch.isnan(scores).all(dim=1)
        # A critic's are not known yet, and are of tokens.
        groups.log_advantages(self._logs["advantages"], advantages if self.critic is None else torch.nan * advantages)
        mine = slice(place * len(rows), (place + 1) * len(rows))
        version = max(self.round_index - self.args.rollout.lag, 0) if training else self.round_index
        fresh, places = groups.sampled_groups(
            batch,
            rewards=rewards[mine],
            advantages=advantages[mine],
            scored=scored[mine],
            group_size=group_size,
            versions=[version] * len(rows) if self.sampler_lag is None else groups.policy_versions(rows),
            first_row=(self.round_index * processes + place) * self.args.local_rows if training else 0,
        )
        groups.check_sampled(fresh, self.round_index)
        if training:
            seconds = time.perf_counter() - started
            tokens = sum(row.response_ids.numel() for row in rows_of(fresh)) * processes
            self.seconds["generating"] += seconds
            self.counters["rollouts_generated"] += len(rows) * processes
            self.counters["tokens_generated"] += tokens
            telling = groups.telling_rows(rewards, advantages, scored, critic=self.critic is not None)
            self.round_statistics = groups.round_statistics(
                rewards, telling, group_size=group_size, tokens=tokens, seconds=seconds
            ) | groups.statistics_of_trl(self._metrics["train"], self.reward_func_names)
            if self.show_sample is not None:
                self.show_sample(telling_group(fresh, scores[mine].tolist(), self.reward_func_names, rows))
                self.show_sample = None
        if training and self.stored is not None:
            parts = groups.named_parts(scores[mine], self.reward_func_names)
            self.columns_of_sample = [rows[one[0]] for one in places], [[parts[row] for row in one] for one in places]
        self.on_phase("training" if training else "evaluating")
        return fresh

    def _described(self) -> str:
        return describe_round(
            self._logs,
            self.round_statistics,
            longest=self.args.max_completion_length,
            raw_text=bool(self._tokenizer.chat_template) and isinstance(self._logs["completion"][-1], str),
        )

    def _finish_step(self) -> None:
        """End the optimizer step in the learner, and log it under the names of docs/metrics.md."""
        metrics = self.learner.finish_step()
        if self._step % self.micro_batches_per_round < self.args.gradient_accumulation_steps:
            self.watch.first_step(self.controls.movement)
        if self.controls.step_size is None:
            assert self.optimizer is not None, "an optimizer step has an optimizer"
            # Prodigy manages the factor on its rate itself.
            metrics["step_scale"] = float(self.optimizer.param_groups[0].get("d", 1.0))
        self.step_lists = {name: value for name, value in metrics.items() if isinstance(value, list)}
        if self.chosen is not None:
            self.step_lists |= self.chosen.described()
        metrics |= {name: float(value) for name, value in self.counters.items()}
        metrics |= {f"seconds_{name}": value for name, value in self.seconds.items()}
        for name, value in (metrics | self.round_statistics).items():
            if not isinstance(value, list):
                self._metrics["train"][name] = [value]
