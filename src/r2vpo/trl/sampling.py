"""This package's samplers as TRL's `rollout_func`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model

from r2vpo.rollout import (
    GenerateSampler,
    PastWeights,
    ShadowModel,
    SharedPrefixSampler,
    make_sampler,
    tokenized_groups,
)
from r2vpo.trl.model_paths import weights_divided_by

if TYPE_CHECKING:
    from r2vpo.trl.trainer import R2VPOTrainer

# Rounds are seeded apart by more rows than one round can have.
_SEED_STRIDE = 1_000_003


class OwnRollout:
    """Samples with the trainer's present weights; called by TRL as `rollout_func(prompts, trainer)`.

    The sampler is the one that the trainer's self-check has chosen.

    Every row has a random stream of its own, made from the run's seed, the round and the row's place in the global
    batch: a round can be sampled again from a checkpoint, and by any number of processes. In an evaluation the batch
    takes the place of the round: no two batches draw alike, and two evaluations of the same weights are equal.

    Args:
        lag: Rounds that the policy that samples is behind the one that is trained; 0 is the present policy.
    """

    def __init__(self, lag: int = 0) -> None:
        self.past = PastWeights(lag) if lag else None
        self._shadow: ShadowModel | None = None
        self._synced_step: int | None = None
        self._sampler: SharedPrefixSampler | GenerateSampler | None = None
        self._evaluated_batches = 0

    def model(self, trainer: R2VPOTrainer) -> Any:
        """The model to sample from, its weights brought up to the trainer's."""
        if self._shadow is None:
            policy = trainer.accelerator.unwrap_model(trainer.model)
            self._shadow = ShadowModel(policy, self._dtype(trainer, policy))
        elif self._synced_step != trainer.state.global_step:
            self._shadow.sync()
        self._synced_step = trainer.state.global_step
        return self._shadow.model

    def _dtype(self, trainer: R2VPOTrainer, policy: Any) -> Any:
        """That of the copy of the policy to sample from, or `"model"` for none."""
        wanted = torch.bfloat16 if trainer.args.sampler_dtype == "bfloat16" else None
        if self.past:
            # Older weights go into a copy, whatever its type: the policy itself is not to be written to.
            return wanted or policy.dtype
        if wanted is None or weights_divided_by(trainer) is not None:
            return "model"
        # Merged adapters make a copy quicker; a plain one of the same type would only take memory.
        same = all(parameter.dtype == wanted for parameter in policy.parameters())
        return "model" if same and not is_peft_model(policy) else wanted

    def sampler(self, trainer: R2VPOTrainer) -> SharedPrefixSampler | GenerateSampler:
        """The sampler of the training rounds, over the present weights."""
        model = self.model(trainer)
        if self._sampler is None:
            kind: Callable[..., SharedPrefixSampler | GenerateSampler]
            if weights_divided_by(trainer) is not None:
                kind = partial(GenerateSampler, in_step=True)
            else:
                chosen = trainer.self_check.sampler
                assert chosen is not None, "the self-check refuses a model that no sampler is right for"
                kind = partial(make_sampler, chosen)
            longest = trainer.args.max_completion_length
            assert longest is not None, "max_completion_length=None: this sampler needs a number"
            self._sampler = kind(
                model,
                eos_token_ids=trainer.eos_token_ids,
                pad_token_id=trainer.pad_token_id,
                temperature=trainer.args.temperature,
                max_new_tokens=longest,
                rows_per_batch=trainer.args.sampler_rows_per_batch,
            )
        return self._sampler

    def forget(self) -> None:
        """Bring the weights up again at the next call, whatever step it is (after loading a checkpoint)."""
        self._synced_step = None

    def begin_evaluation(self) -> None:
        """Start the random numbers of an evaluation over, and bring the weights up: they may be other ones."""
        self._evaluated_batches = 0
        self.forget()

    def __call__(self, prompts: list[Any], trainer: R2VPOTrainer) -> dict[str, Any]:
        """Sample one response for each of TRL's duplicated prompts.

        Returns:
            `prompt_ids`, `completion_ids` and `logprobs`, a list a row.
        """
        training = trainer.model.training
        distinct, group_size = tokenized_groups(prompts, trainer)
        offset = trainer.accelerator.process_index * len(prompts)
        sampler = self.sampler(trainer)
        # Rounds have the first half of the seeds, the batches of an evaluation the other.
        place = trainer.round_index if training else _SEED_STRIDE // 2 + self._evaluated_batches
        self._evaluated_batches += not training
        if self.past is not None and training:
            assert self._shadow is not None, "the sampler has no model"
            self.past.exchange(self._shadow.model)
            self.forget()
        samples = sampler.sample(
            distinct,
            group_size,
            seed=trainer.args.seed * _SEED_STRIDE + place,
            first_row=offset,
        )
        return {
            "prompt_ids": [ids for ids in distinct for _ in range(group_size)],
            "completion_ids": [sample.response_ids for sample in samples],
            "logprobs": [sample.log_probs for sample in samples],
        }
