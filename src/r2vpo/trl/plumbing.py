"""The parts of TRL's trainer that `R2VPOTrainer` replaces and that do not concern the objective.

These are the order of the prompts, the forward pass with shared prompts, non-finite losses, and clocks.
"""

from __future__ import annotations

import math
import time
import warnings
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset
from trl.trainer.utils import RepeatSampler

from r2vpo.core.log_probs import OrdinaryLogProbs, PrefixBatch, TokenLogProbs, disable_noise
from r2vpo.core.log_probs.support import base_model
from r2vpo.errors import UserError
from r2vpo.learner import Learner, MicroBatch
from r2vpo.rewards.undisturbed import undisturbed
from r2vpo.sampling import SelfCheck, without_own_rules
from r2vpo.trl.checkpointing import CheckpointingTrainer
from r2vpo.trl.critic import TrainedCritic
from r2vpo.trl.engine import EngineTrainer
from r2vpo.trl.finite_steps import FiniteSteps
from r2vpo.trl.model_paths import check_trainer, prepare_model, weights_divided_by
from r2vpo.trl.prompts import RepeatedRows
from r2vpo.trl.sampling import OwnRollout


class EpochRepeatSampler(RepeatSampler):
    """TRL's sampler, reshuffled only from (seed, epoch), so that a resumed run gets the same prompts."""

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch; the training loop calls this at the start of each epoch."""
        if self.shuffle:
            self.generator.manual_seed((self.seed or 0) + epoch)


class TrainingPlumbing(FiniteSteps, EngineTrainer, CheckpointingTrainer):
    """A `GRPOTrainer` that computes each prompt once per group, and whose resumed runs match uninterrupted ones.

    A subclass holds the counters and seconds that are updated here, and calls `_settle_paths` before it trains.
    """

    seconds: dict[str, float]
    self_check: SelfCheck
    own_rollout: OwnRollout | None
    critic: TrainedCritic | None
    learner: Learner
    _shares_prefix: bool
    _router_losses: list[Tensor]
    _scores: Tensor

    @property
    def pad_token_id(self) -> int:
        """Return the id of the tokenizer's padding token."""
        number: int = self._tokenizer.pad_token_id
        return number

    def _settle_paths(self, *, wanted: bool, own_sampler: bool, float32_head: bool) -> None:
        """Determine how this model can compute log-probs and responses, and warn about deviations from the request."""
        prepare_model(self, float32_head=float32_head)
        self._router_losses = []
        notes = []
        if wanted and self.args.gradient_checkpointing:
            wanted = False
            reason = "gradient_checkpointing=True turns off the cache through which prompts are shared"
            notes.append(f"prompts are not shared in training: {reason}")
        if wanted and self.aux_loss_enabled:
            wanted = False
            notes.append(
                "prompts are not shared in training: the router's load-balancing loss is defined on whole rows; "
                "router_aux_loss_coef=0.0 (in a recipe trainer.router_aux_loss_coef) leaves it out"
            )
        divider = weights_divided_by(self)
        if divider is not None:
            reason = f"{divider} shards the weights over processes and gathers them only when the whole model is called"
            if wanted:
                notes.append(f"prompts are not shared in training: {reason}")
            if own_sampler:
                notes.append(f"responses are sampled by the model's own generate: {reason}; use_vllm=True is faster")
            if self.args.rollout.lag:
                raise UserError(f"rollout.lag = {self.args.rollout.lag} keeps whole weights, and {reason}; set it to 0")
            wanted = False
        self.self_check = check_trainer(self, shared=wanted, own_sampler=own_sampler)
        self._shares_prefix = self.self_check.shares_prompts
        for note in [*notes, *self.self_check.notes]:
            warnings.warn(note, UserWarning, stacklevel=3)

    def create_optimizer(self, *args: Any, **kwargs: Any) -> torch.optim.Optimizer:
        """Create the optimizer as transformers does, and add the critic's weights."""
        created = self.optimizer is None
        optimizer: torch.optim.Optimizer = super().create_optimizer(*args, **kwargs)
        if created and self.critic is not None:
            self.critic.add_to(optimizer)
        return optimizer

    def _forward(self, model: Any, micro: MicroBatch, *, aux_loss: bool = False) -> Any:
        """Compute log-probs, and with a critic values; `aux_loss` also returns the router's loss."""
        critic = self.critic
        if critic is None:
            return self.policy_forward(model, micro.batch, aux_loss=aux_loss)
        # In a warm-up round the policy needs no gradient, and DDP must not wait for one.
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self.learner.critic.warms_up):
            of_policy = self.policy_forward(model, micro.batch, aux_loss=aux_loss, states=critic.reads_policy)
        values = critic.values(micro.batch, of_policy)
        if aux_loss:
            return OrdinaryLogProbs(of_policy.log_probs, of_policy.entropy, of_policy.aux_loss, values)
        return TokenLogProbs(of_policy.log_probs, of_policy.entropy, values)

    def policy_forward(self, model: Any, batch: PrefixBatch, *, aux_loss: bool = False, states: bool = False) -> Any:
        """Call the policy by the path that was settled for it.

        Args:
            model: The policy, or a distributed wrapper of it.
            batch: Prompts and responses.
            aux_loss: Return the router's loss; only the ordinary forward has it.
            states: Return `TokenStates`.
        """
        disable_noise(self.model)
        options: dict[str, Any] = {"states": True} if states else {}
        if aux_loss or not self._shares_prefix:
            options |= {"shared": False, "aux_loss": aux_loss, "chunked": self.self_check.chunks and not aux_loss}
        with self.accelerator.autocast():
            return model(prefix_batch=batch, **options, temperature=self.temperature)

    def _get_per_token_logps_and_entropies(self, *args: Any, **kwargs: Any) -> Any:
        # TRL would evaluate only the fresh rows and share no prompts; the learner evaluates all rows at once.
        return None, None, None

    def _calculate_rewards(self, *args: Any, **kwargs: Any) -> Tensor:
        self.on_phase("scoring")
        with undisturbed():  # around all of them: asynchronous ones overlap, and each could restore what another set
            self._scores = super()._calculate_rewards(*args, **kwargs)
        return self._scores

    def _generate_and_score_completions(self, inputs: list[dict[str, Any]]) -> dict[str, Any]:
        """Return TRL's batch with the scores of all processes, (B, F), which TRL computes and does not return."""
        batch = super()._generate_and_score_completions(inputs)
        return batch | {"scores": self._scores}

    def _router_loss(self, current: Any) -> Tensor | float:
        """Return the weighted load-balancing loss of a mixture of experts: a mean over micro-batches, as in TRL."""
        if not self.aux_loss_enabled:
            return 0.0
        pieces = self.current_gradient_accumulation_steps if self.model.training else 1
        self._router_losses.append(current.aux_loss.detach())
        if not self.model.training or self.accelerator.sync_gradients:
            # Once per optimizer step, because reading a number from the device waits for it.
            mean = self.accelerator.gather_for_metrics(torch.stack(self._router_losses)).mean()
            self._metrics["train" if self.model.training else "eval"]["aux_loss"].append(float(mean))
            self._router_losses.clear()
        loss: Tensor = self.router_aux_loss_coef * current.aux_loss / pieces
        return loss

    def _generate_single_turn(self, *args: Any, **kwargs: Any) -> Any:
        # generate takes unset options from the model's own config: penalties, forced and forbidden tokens.
        with without_own_rules(base_model(self.accelerator.unwrap_model(self.model))):
            try:
                return super()._generate_single_turn(*args, **kwargs)
            except RuntimeError as error:
                if "probability tensor contains" not in str(error):
                    raise
                raise UserError(
                    "the logits of a response are not finite: the weights have diverged, go back to a checkpoint or "
                    "lower the learning rate"
                ) from error

    def evaluation_loop(self, *args: Any, **kwargs: Any) -> Any:
        """Evaluate as transformers does, with the same random numbers each time and the current weights."""
        if self.own_rollout is not None:
            self.own_rollout.begin_evaluation()
        return super().evaluation_loop(*args, **kwargs)

    def _load_best_model(self) -> None:
        super()._load_best_model()
        if self.own_rollout is not None:
            self.own_rollout.forget()

    def _get_dataloader(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        if not isinstance(dataset, IterableDataset):
            dataset = RepeatedRows(dataset)
        return super()._get_dataloader(dataset, *args, **kwargs)

    def _get_train_sampler(self, dataset: Any = None) -> EpochRepeatSampler:
        sampler = super()._get_train_sampler(dataset)
        sampler.__class__ = EpochRepeatSampler
        assert isinstance(sampler, EpochRepeatSampler)
        return sampler

    def _finish_gradients(self, norm: Any) -> bool:
        finite = super()._finish_gradients(norm)
        if self.critic is None:
            return finite
        of_critic = self.critic.finish_gradient(self.args.max_grad_norm)
        self._metrics["train"]["critic_grad_norm"] = [of_critic]
        return finite and math.isfinite(of_critic)

    def _drop_gradients(self, model: Any) -> None:
        super()._drop_gradients(model)
        if self.critic is not None:
            self.critic.forget_gradient()

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as TRL does.

        Raises:
            UserError: `RunWatch` ends the run (noisy log-probs, no step with a finite gradient), or a stream has fewer
                prompts than one round.
        """
        result = super().train(*args, **kwargs)
        if not self.state.global_step and not hasattr(self.train_dataset, "__len__"):
            wanted = self.args.generation_batch_size // self.num_generations
            raise UserError(
                f"no step was made: train_dataset has fewer than the {wanted} prompts of a round "
                f"(generation_batch_size={self.args.generation_batch_size} / num_generations={self.num_generations}); "
                "add prompts, or reduce generation_batch_size"
            )
        return result

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """Train on one micro-batch; its time counts as training, except for the time spent on generation."""
        started, generating = time.perf_counter(), self.seconds["generating"]
        if self.critic is not None and self._step % self.args.gradient_accumulation_steps == 0:
            self.critic.forget_gradient()  # as transformers does with the model's after each step
        loss: Tensor = super().training_step(*args, **kwargs)
        spent = time.perf_counter() - started
        self.seconds["training"] += spent - (self.seconds["generating"] - generating)
        # Like transformers' logging_nan_inf_filter, which queries the device twice per micro-batch: a non-finite loss
        # is replaced by the mean so far.
        steps = 1 + self.state.global_step - self._globalstep_last_logged
        mean: Tensor = self._tr_loss / steps
        return torch.where(loss.isfinite(), loss, mean)

    def _total(self, value: Tensor | float) -> Tensor:
        tensor = value if isinstance(value, Tensor) else torch.tensor(float(value), device=self.accelerator.device)
        total: Tensor = self.accelerator.reduce(tensor.to(self.accelerator.device), reduction="sum")
        return total
