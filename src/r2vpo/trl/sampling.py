"""This package's samplers as TRL's `rollout_func`."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_peft_model

from r2vpo.sampling import (
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

# The seeds of two rounds differ by more than the number of rows in a round.
_SEED_STRIDE = 1_000_003


class OwnRollout:
    """Sampler with the trainer's current weights; TRL calls it as `rollout_func(prompts, trainer)`.

    It uses the sampler that the trainer's self-check has chosen.

    Every row has its own random stream, derived from the run's seed, the round and the row's position in the global
    batch, so a round can be sampled again from a checkpoint and by any number of processes. In an evaluation the batch
    replaces the round: different batches draw different numbers, and two evaluations of the same weights are equal.

    Args:
        lag: Rounds that the sampling policy lags behind the trained one; 0 is the current policy.
    """

    def __init__(self, lag: int = 0) -> None:
        self.past = PastWeights(lag) if lag else None
        self._shadow: ShadowModel | None = None
        self._synced_step: int | None = None
        self._sampler: SharedPrefixSampler | GenerateSampler | None = None
        self._evaluated_batches = 0

    def model(self, trainer: R2VPOTrainer) -> Any:
        """Return the model to sample from, with its weights updated from the trainer's."""
        if self._shadow is None:
            policy = trainer.accelerator.unwrap_model(trainer.model)
            self._shadow = ShadowModel(policy, self._dtype(trainer, policy))
        elif self._synced_step != trainer.state.global_step:
            self._shadow.sync()
        self._synced_step = trainer.state.global_step
        return self._shadow.model

    def _dtype(self, trainer: R2VPOTrainer, policy: Any) -> Any:
        """Return the type of the policy's copy that is sampled from, or `"model"` if there is no copy."""
        wanted = torch.bfloat16 if trainer.args.rollout.dtype == "bfloat16" else None
        if self.past:
            # Older weights go into a copy of any type, because the policy itself must not be overwritten.
            return wanted or policy.dtype
        if wanted is None or weights_divided_by(trainer) is not None:
            return "model"
        # Merging adapters makes a copy faster; a plain copy of the same type would only cost memory.
        same = all(parameter.dtype == wanted for parameter in policy.parameters())
        return "model" if same and not is_peft_model(policy) else wanted

    def sampler(self, trainer: R2VPOTrainer) -> SharedPrefixSampler | GenerateSampler:
        """Return the sampler of the training rounds, with the current weights."""
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
            assert longest is not None, "the config refuses None with this sampler"
            self._sampler = kind(
                model,
                eos_token_ids=trainer.eos_token_ids,
                pad_token_id=trainer.pad_token_id,
                temperature=trainer.args.temperature,
                max_new_tokens=longest,
                rows_per_batch=trainer.args.rollout.rows_per_batch,
                progress=lambda *counts: trainer.on_sampled(*counts),
            )
        return self._sampler

    def forget(self) -> None:
        """Update the weights at the next call, whatever its step (after loading a checkpoint)."""
        self._synced_step = None

    def begin_evaluation(self) -> None:
        """Restart the random numbers of an evaluation, and update the weights, which may have changed."""
        self._evaluated_batches = 0
        self.forget()

    def __call__(self, prompts: list[Any], trainer: R2VPOTrainer) -> dict[str, Any]:
        """Sample one response for each of TRL's duplicated prompts.

        Returns:
            `prompt_ids`, `completion_ids` and `logprobs`, with one list per row.
        """
        training = trainer.model.training
        distinct, group_size = tokenized_groups(prompts, trainer)
        offset = trainer.accelerator.process_index * len(prompts)
        sampler = self.sampler(trainer)
        # Rounds use the first half of the seeds, the batches of an evaluation the second half.
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
