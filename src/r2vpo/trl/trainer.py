"""`R2VPOTrainer`: TRL's `GRPOTrainer` with R²VPO's objective, controllers and replay of stale rollouts."""

from __future__ import annotations

import math
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from accelerate.utils import is_peft_model
from torch import Tensor
from torch.utils.data import IterableDataset
from trl import GRPOTrainer
from trl.trainer.utils import RepeatSampler

from r2vpo.core.diagnostics import diagnostic_sums
from r2vpo.core.log_probs import TokenLogProbs, install, supports_shared_prefix
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.ratios import proximal_variance, stale_weight
from r2vpo.replay import ReplayBuffer, Rollout, snapshot
from r2vpo.trl.checkpoint import rotate, staged, state_path
from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.controls import Controls
from r2vpo.trl.curriculum import ChosenPrompts
from r2vpo.trl.guards import guard_reward, no_brake_reason, refuse_unsupported
from r2vpo.trl.prompts import PromptBatch, RepeatedRows
from r2vpo.trl.rounds import (
    last_round_variance,
    part_means,
    remember_policy,
    round_moments,
    set_normalizers,
    weigh_rewards,
)
from r2vpo.trl.rows import MicroBatch, collate, cut, fresh_rollouts
from r2vpo.trl.sampling import SharedPrefixRollout
from r2vpo.trl.state import restore_trainer, trainer_state


class EpochRepeatSampler(RepeatSampler):
    """TRL's sampler, reshuffled from (seed, epoch) alone, so that a resumed run meets the same prompts."""

    def set_epoch(self, epoch: int) -> None:
        """Called by the training loop at each epoch's start."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class R2VPOTrainer(GRPOTrainer):
    """Fine-tune a causal language model with R²VPO; used as TRL's `GRPOTrainer` is.

    A round samples a generation batch, adds stale rollouts of the last `replay_versions` rounds, evaluates the
    policy on all of
    them once, and makes `steps_per_round` optimizer steps. Rows of a group stay together, so that the training forward
    computes each prompt once.

    Args:
        model: As for `GRPOTrainer`.
        reward_funcs: As for `GRPOTrainer`; an exception or a NaN ends the run with a line that names function and row.
        args: An `R2VPOConfig`.
        **kwargs: Everything else of `GRPOTrainer`: datasets, `processing_class`, `peft_config`, callbacks,
        `rollout_func`.

    Raises:
        UserError: The model or the options ask for something that would be trained wrongly.

    Source:
        R²VPO, arXiv 2601.03320. The anchor, the ascent on lambda, step-size control and the replay's rules are this
        project's (docs/objective.md).
    """

    _tag_names = ("r2vpo", "trl", "grpo")

    def __init__(self, model: Any, reward_funcs: Any = None, args: R2VPOConfig | None = None, **kwargs: Any) -> None:
        args = args if args is not None else R2VPOConfig("r2vpo")
        functions = reward_funcs if isinstance(reward_funcs, list) else [reward_funcs]
        own_sampler = args.sampler == "shared_prefix" and not args.use_vllm and kwargs.get("rollout_func") is None
        self._own_rollout = SharedPrefixRollout(args.rollout_lag) if own_sampler else None
        if own_sampler:
            kwargs["rollout_func"] = self._own_rollout
        self._generating = self._attached = False
        self._rewards: Tensor | None = None
        self._staging: Path | None = None
        self._round_stats: dict[str, float] = {}
        super().__init__(model, [guard_reward(function) for function in functions], args, **kwargs)
        refuse_unsupported(
            aux_loss=self.aux_loss_enabled,
            tools=bool(self.tools),
            vision=self._is_vlm,
            own_sampler=own_sampler,
        )
        self.data_collator = PromptBatch
        self._use_shared_prefix(args.shared_prefix)
        reason = no_brake_reason(
            constrained=args.objective_config().constraint_target is not None,
            anchor=args.anchor,
            steps_per_round=args.steps_per_round,
            replay_versions=args.replay_versions or args.rollout_lag,
        )
        if reason is not None:
            warnings.warn(reason, UserWarning, stacklevel=2)
        self._objective = OBJECTIVES[args.objective]
        self._objective_config = args.objective_config()
        self.controls = Controls(
            dual=args.dual_config(),
            step_size=args.step_size_config() if args.step_control else None,
            steps_per_round=args.steps_per_round,
            reduce=lambda tensor: self.accelerator.reduce(tensor, reduction="sum"),
        )
        self.replay = ReplayBuffer(args.replay_config())
        curriculum = args.curriculum_config()
        self.chosen = None if curriculum is None else ChosenPrompts(self.train_dataset, curriculum, seed=args.seed)
        self._cut_generator = torch.Generator().manual_seed(args.seed)
        self.counters = {
            "rollouts_generated": 0,
            "rollouts_reused": 0,
            "tokens_generated": 0,
            "non_finite_steps": 0,
        }
        self.seconds = {"generating": 0.0, "training": 0.0}
        # One of the two is 0.
        self.max_staleness = args.replay_versions + args.rollout_lag
        self.staleness_rows = [0] * (self.max_staleness + 1)
        self.step_lists: dict[str, Any] = {}

    def _use_shared_prefix(self, wanted: bool) -> None:
        """Install the shared-prefix forward, or say why the ordinary one is used."""
        model = self.model.get_base_model() if is_peft_model(self.model) else self.model
        reason = supports_shared_prefix(model)
        if self.args.gradient_checkpointing:
            reason = "gradient_checkpointing=True turns off the cache that the prompts are shared through"
        self._shares_prefix = wanted and reason is None
        if self._shares_prefix:
            install(model)
        elif wanted:
            warnings.warn(f"prompts are not shared in training: {reason}", UserWarning, stacklevel=3)

    # ------------------------------------------------------------------ what TRL calls

    @property
    def round_index(self) -> int:
        """Rounds begun so far; the version of the policy that the present round's rollouts came from."""
        return self._step // (self.args.steps_per_generation * self.num_iterations)

    @property
    def pad_token_id(self) -> int:
        """The tokenizer's padding token."""
        return self._tokenizer.pad_token_id

    def sampling_model(self) -> Any:
        """The present policy as it is sampled from: a synchronised copy, or the model itself."""
        if self._own_rollout is not None:
            return self._own_rollout.model(self)
        return self.accelerator.unwrap_model(self.model)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer and let the step-size controller scale its learning rate."""
        optimizer = super().create_optimizer(*args, **kwargs)
        if self.controls.step_size is not None and not self._attached:
            self.controls.step_size.attach(optimizer)
            self._attached = True
        return optimizer

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(dataset, IterableDataset):
            dataset = RepeatedRows(dataset)
        return super()._get_dataloader(dataset, *args, **kwargs)

    def _get_train_sampler(self, dataset: Any = None) -> EpochRepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        sampler.__class__ = EpochRepeatSampler
        return sampler

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        # TRL would evaluate the fresh rows alone and share no prompts; the round evaluates all its rows at once.
        if self._generating:
            return None, None, None
        return super()._get_per_token_logps_and_entropies(*args, **kwargs)

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        self._rewards = super()._calculate_rewards(*args, **kwargs)
        return self._rewards

    def _prepare_inputs(self, generation_batch: PromptBatch) -> MicroBatch:
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
        current = self._forward(model, inputs)
        old = inputs.old_log_probs if inputs.old_log_probs is not None else current.log_probs.detach()
        output = self._objective.loss(
            log_probs=current.log_probs,
            old_log_probs=old,
            rollout_log_probs=inputs.rollout_log_probs,
            advantages=inputs.advantages,
            response_mask=inputs.response_mask,
            dual=self.controls.dual.value,
            config=self._objective_config,
            normalizer=inputs.normalizer,
        )
        if not self.model.training:
            return output.loss
        weight = stale_weight(
            old,
            inputs.rollout_log_probs,
            inputs.response_mask,
            self._objective_config.stale_weight_cap,
            "token",
        )
        self.controls.add(
            constrained=output.constraint,
            proximal=proximal_variance(current.log_probs.detach(), old, inputs.response_mask, weight),
            diagnostics=diagnostic_sums(
                log_probs=current.log_probs.detach(),
                old_log_probs=old,
                rollout_log_probs=inputs.rollout_log_probs,
                advantages=inputs.advantages,
                response_mask=inputs.response_mask,
                entropy=current.entropy,
                dual=self.controls.dual.value,
                staleness=inputs.staleness,
                max_staleness=self.max_staleness,
                config=self._objective_config,
            ),
        )
        if self.accelerator.sync_gradients:
            self._finish_step()
        # Gradients are averaged over processes, while the normalizer is already the global one.
        return output.loss * self.accelerator.num_processes

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        if norm is not None and not math.isfinite(float(norm)):
            # Every process sees the same reduced gradient, so all of them leave the step out together.
            for parameter in model.parameters():
                parameter.grad = None
            self.counters["non_finite_steps"] += 1
        return norm

    # ------------------------------------------------------------------ a round

    def _generate_rollouts(self, generation_batch: PromptBatch) -> list[Rollout]:
        """Let TRL generate and score, and take its rows apart; the advantages are ours."""
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
        if chosen is not None:
            chosen.record(self._rewards[:, 0])
        group_size = self.num_generations if self.model.training else self.num_generations_eval
        rewards, advantages = weigh_rewards(
            self._rewards, self.reward_weights, group_size=group_size, estimator=self.args.advantage_estimator
        )
        rows = batch["prompt_ids"].size(0)
        mine = slice(self.accelerator.process_index * rows, (self.accelerator.process_index + 1) * rows)
        rollouts = fresh_rollouts(
            batch,
            rewards=rewards[mine],
            advantages=advantages[mine],
            group_size=group_size,
            version=max(self.round_index - self.args.rollout_lag, 0) if self.model.training else self.round_index,
            first_group=self.round_index * (rows // group_size),
        )
        if self.model.training:
            self.seconds["generating"] += time.perf_counter() - started
            self.counters["rollouts_generated"] += rows * self.accelerator.num_processes
            tokens = sum(r.response_ids.numel() for r in rollouts) * self.accelerator.num_processes
            self.counters["tokens_generated"] += tokens
            self._round_stats = {
                "reward": float(rewards.mean()),
                "reward_std": float(rewards.std()),
                "tokens_per_second": tokens / max(time.perf_counter() - started, 1e-9),
                "completion_length": tokens / rows / self.accelerator.num_processes,
                **part_means(self._rewards, self.reward_func_names),
            }
        return rollouts

    def _begin_round(self, generation_batch: PromptBatch) -> list[MicroBatch]:
        """Sample, add stale rows, evaluate the policy on all of them, and cut the round into micro-batches."""
        version = self.round_index
        self.replay.begin_version(version)
        fresh = self._generate_rollouts(generation_batch)
        wanted = self.replay.config.stale_rows(len(fresh)) if version else 0
        stale = self.replay.sample(wanted, version)
        left_out = [r for r in fresh if self.args.skip_zero_advantage and r.advantage == 0]
        kept = [r for r in fresh if not (self.args.skip_zero_advantage and r.advantage == 0)]
        pieces = cut(kept + stale, self.args.steps_per_generation, generator=self._cut_generator, spare=fresh)
        micros = [
            collate(piece, version=version, pad_token_id=self.pad_token_id, device=self.accelerator.device)
            for piece in pieces
        ]
        before = {id(row): row.old_log_probs for row in stale if row.old_version == version - 1}
        self._evaluate_policy(micros)
        set_normalizers(
            micros,
            left_out,
            per_step=self.args.gradient_accumulation_steps,
            by_tokens=self.args.aggregation == "token_mean",
            total=self._total,
        )
        config = self._objective_config
        self.controls.begin_round(
            round_moments(micros, anchor=config.anchor, cap=config.stale_weight_cap),
            last_round_variance(stale, before, cap=config.stale_weight_cap, device=self.accelerator.device),
            signal=self._signal(fresh + stale, len(fresh) + wanted),
        )
        self.replay.add(fresh)
        self.counters["rollouts_reused"] += int(self._total(len(stale)))
        ages = torch.tensor([row.staleness(version) for row in kept + stale], dtype=torch.long)
        counts = self._total(torch.bincount(ages, minlength=len(self.staleness_rows)).float()).tolist()
        self.staleness_rows = [before + int(now) for before, now in zip(self.staleness_rows, counts, strict=True)]
        return micros

    def _signal(self, rows: list[Rollout], wanted: int) -> float:
        """The share of the rows wanted for a round, over all processes, that are there and carry a gradient."""
        counts = self._total(torch.tensor([float(sum(row.advantage != 0 for row in rows)), float(wanted)]))
        return float(counts[0] / counts[1])

    @torch.no_grad()
    def _evaluate_policy(self, micros: list[MicroBatch]) -> None:
        """Log-probs of the policy at the round's start, into the micro-batches and their rows."""
        own = self.args.sampler == "trl" and not self.args.use_vllm and self._own_rollout is None
        for micro in micros:
            log_probs = self._forward(self.model, micro).log_probs
            remember_policy(micro, log_probs, version=self.round_index, sampler_is_trainer=own)

    def _forward(self, model: Any, micro: MicroBatch) -> TokenLogProbs:
        with self.accelerator.autocast():
            if self._shares_prefix:
                return model(prefix_batch=micro.prefix_batch(), temperature=self.temperature)
            log_probs, entropy, _ = super()._get_per_token_logps_and_entropies(
                model,
                torch.cat([micro.prompt_ids, micro.response_ids], dim=1),
                torch.cat([micro.prompt_mask, micro.attention_mask], dim=1).long(),
                micro.response_ids.size(1),
                compute_entropy=True,
            )
        return TokenLogProbs(log_probs=log_probs, entropy=entropy)

    def _finish_step(self) -> None:
        metrics = self.controls.finish_step()
        self.step_lists = {name: value for name, value in metrics.items() if isinstance(value, list)}
        self.step_lists["staleness_rows"] = list(self.staleness_rows)
        if self.chosen is not None:
            self.step_lists |= self.chosen.described()
        numbers = {name: value for name, value in metrics.items() if not isinstance(value, list)}
        statistics = self.replay.statistics()
        numbers |= {"delta": self.args.variance_delta, "round": float(self.round_index)}
        numbers |= {"replay_rows": float(statistics.rows), "replay_bytes": float(statistics.bytes)}
        numbers |= {name: float(value) for name, value in self.counters.items()}
        numbers |= {f"seconds_{name}": value for name, value in self.seconds.items()}
        for name, value in numbers.items() | self._round_stats.items():
            self._metrics["train"][name] = [value]

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """One micro-batch; its time counts as training except for what was spent on generating."""
        started, generating = time.perf_counter(), self.seconds["generating"]
        loss = super().training_step(*args, **kwargs)
        spent = time.perf_counter() - started
        self.seconds["training"] += spent - (self.seconds["generating"] - generating)
        return loss

    def _total(self, value: Tensor | float) -> Tensor:
        tensor = value if isinstance(value, Tensor) else torch.tensor(float(value), device=self.accelerator.device)
        return self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum")

    # ------------------------------------------------------------------ checkpoints

    def _get_output_dir(self, trial: Any) -> str:
        return str(self._staging) if self._staging is not None else super()._get_output_dir(trial)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        run, name = Path(super()._get_output_dir(trial)), f"checkpoint-{self.state.global_step}"
        is_main = self.accelerator.is_main_process
        with staged(run, name, is_main=is_main, barrier=self.accelerator.wait_for_everyone) as staging:
            self._staging = staging
            try:
                super()._save_checkpoint(model, trial)
                snapshot.save(state_path(staging / name, self.accelerator.process_index), trainer_state(self))
            finally:
                self._staging = None
        if is_main:
            rotate(run, self.args.save_total_limit)

    def _load_optimizer_and_scheduler(self, checkpoint: Any) -> None:
        super()._load_optimizer_and_scheduler(checkpoint)
        if checkpoint is not None:
            restore_trainer(self, snapshot.load(state_path(checkpoint, self.accelerator.process_index)))
