"""Greedy answers through the model's own `generate`, for models whose prompts cannot be shared."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from r2vpo.rollout.sampler import Sample, evaluating


class GenerateSampler:
    """Answers greedily with `transformers`' `generate`: slower than the shared-prefix sampler, for any causal model.

    Args:
        model: a causal language model, in the state it should be sampled in.
        eos_token_ids: ids that end a response.
        pad_token_id: id that fills up shorter prompts.
        max_new_tokens: limit of a response, in tokens.
        rows_per_batch: prompts at once.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos_token_ids: Sequence[int],
        pad_token_id: int,
        max_new_tokens: int,
        rows_per_batch: int = 64,
    ) -> None:
        self._model, self._eos, self._pad = model, list(eos_token_ids), pad_token_id
        self._max_new_tokens, self._rows = max_new_tokens, rows_per_batch

    @torch.no_grad()
    def greedy(self, prompts: list[list[int]]) -> list[Sample]:
        """Take the likeliest token at every step; one response a prompt, in order. Log-probs are not kept."""
        with evaluating(self._model):
            return self._greedy(prompts)

    def _greedy(self, prompts: list[list[int]]) -> list[Sample]:
        samples: list[Sample] = []
        for start in range(0, len(prompts), self._rows):
            part = prompts[start : start + self._rows]
            width = max(map(len, part))
            ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in part], device=self._model.device)
            mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in part], device=self._model.device)
            output = self._model.generate(
                input_ids=ids,
                attention_mask=mask,
                do_sample=False,
                repetition_penalty=1.0,
                max_new_tokens=self._max_new_tokens,
                eos_token_id=self._eos,
                pad_token_id=self._pad,
            )
            samples.extend(self._cut(row) for row in output[:, width:].tolist())
        return samples

    def _cut(self, tokens: list[int]) -> Sample:
        for place, token in enumerate(tokens):
            if token in self._eos:
                return Sample(tokens[: place + 1], [], True)
        return Sample(tokens, [], False)
