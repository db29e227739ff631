"""Sampling through the model's own `generate`, for models whose prompts cannot be shared."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor
from transformers import GenerationConfig, LogitsProcessor, LogitsProcessorList

from r2vpo.sampling.draws import check_finite, check_prompts, choose_tokens, uniform_numbers
from r2vpo.sampling.sampler import Progress, Sample, evaluating


class GenerateSampler:
    """Sampler that uses `transformers`' `generate`: slower than the shared-prefix sampler, but for any causal model.

    Its tokens are drawn with the same random numbers as the shared-prefix sampler's.

    Args:
        model: a causal language model, in the state in which it should be sampled.
        eos_token_ids: ids that end a response.
        pad_token_id: id that pads shorter prompts.
        temperature: divides the logits, dimensionless, above 0.
        max_new_tokens: limit of a response, in tokens.
        rows_per_batch: responses generated at once, to bound memory; None for all.
        entropy: record the entropy at every token.
        in_step: continue as long as any process does, because every process is needed to gather sharded weights.
        by_length: generate rows together only if their prompts have the same length, for models that are wrong under
            padding.
        progress: as for the shared-prefix sampler; responses count as finished when their whole batch is.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos_token_ids: Sequence[int],
        pad_token_id: int,
        temperature: float = 1.0,
        max_new_tokens: int,
        rows_per_batch: int | None = 64,
        entropy: bool = False,
        in_step: bool = False,
        by_length: bool = False,
        progress: Progress | None = None,
    ) -> None:
        self._model, self._eos, self._pad = model, list(eos_token_ids), pad_token_id
        self._max_new_tokens, self._rows = max_new_tokens, rows_per_batch
        self._temperature, self._entropy, self._in_step = temperature, entropy, in_step
        self._by_length, self._progress = by_length, progress

    def sample(
        self, prompts: list[list[int]], samples_per_prompt: int, *, seed: int | Sequence[int], first_row: int = 0
    ) -> list[Sample]:
        """Draw responses, in the order of the prompts.

        Args:
            prompts: token ids of each prompt, without padding.
            samples_per_prompt: responses to draw for each.
            seed: one seed for all rows; or one per prompt, whose samples then do not depend on the other prompts.
            first_row: position of the first response among those of all processes; not with a list of seeds.

        Raises:
            ValueError: there is no prompt, a prompt has no token, or logits are not finite.
        """
        check_prompts(prompts)
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        seeds = seed if isinstance(seed, int) else [(one, samples_per_prompt) for one in seed]
        return self._run(rows, uniform_numbers(seeds, len(rows), self._max_new_tokens, first_row=first_row))

    def greedy(self, prompts: list[list[int]]) -> list[Sample]:
        """Take the likeliest token at every step; one response per prompt, in order."""
        check_prompts(prompts)
        return self._run(prompts, None)

    def _run(self, rows: list[list[int]], uniform: Tensor | None) -> list[Sample]:
        samples: dict[int, Sample] = {}
        with torch.no_grad(), evaluating(self._model), without_own_rules(self._model):
            for part in self._batches(rows):
                numbers = None if uniform is None else uniform[part]
                progress = None if self._progress is None else partial(self._progress, len(samples), len(rows))
                found = self._generate([rows[row] for row in part], numbers, progress)
                samples.update(zip(part, found, strict=True))
        return [samples[row] for row in range(len(rows))]

    def _batches(self, rows: list[list[int]]) -> Iterator[list[int]]:
        """Yield the indices of rows that are generated together."""
        groups: dict[int, list[int]] = {}
        for number, row in enumerate(rows):
            groups.setdefault(len(row) if self._by_length else 0, []).append(number)
        for group in groups.values():
            size = self._rows or len(group)
            yield from (group[start : start + size] for start in range(0, len(group), size))

    def _generate(
        self, rows: list[list[int]], uniform: Tensor | None, progress: Callable[[int, int], None] | None
    ) -> list[Sample]:
        width, device = max(map(len, rows)), self._model.device
        ids = torch.tensor([[self._pad] * (width - len(row)) + row for row in rows], device=device)
        mask = torch.tensor([[0] * (width - len(row)) + [1] * len(row) for row in rows], device=device)
        chooser = _Chooser(
            None if uniform is None else uniform.to(device), self._temperature, width=width, entropy=self._entropy
        )
        chosen = LogitsProcessorList([chooser])
        if progress is not None:
            chosen.append(_Counter(progress, width, self._max_new_tokens))
        output = self._model.generate(
            input_ids=ids,
            attention_mask=mask,
            do_sample=False,
            max_new_tokens=self._max_new_tokens,
            eos_token_id=self._eos,
            pad_token_id=self._pad,
            logits_processor=chosen,
            synced_gpus=self._in_step,
        )
        columns = (output[:, width:].tolist(), *chooser.columns(len(rows)))
        return [self._cut(*row) for row in zip(*columns, strict=True)]

    def _cut(self, tokens: list[int], log_probs: list[float], entropies: list[float]) -> Sample:
        length = next((place + 1 for place, token in enumerate(tokens) if token in self._eos), len(tokens))
        finished = bool(length and tokens[length - 1] in self._eos)
        return Sample(tokens[:length], log_probs[:length], finished, entropies[:length])


@contextmanager
def without_own_rules(model: Any) -> Iterator[None]:
    """Context manager that disables the model's own settings for its logits: penalties, forced or forbidden tokens."""
    own = model.generation_config
    model.generation_config = GenerationConfig(bos_token_id=own.bos_token_id)
    try:
        yield
    finally:
        model.generation_config = own


class _Counter(LogitsProcessor):
    """Logits processor that changes nothing, and tells how many tokens have been drawn."""

    def __init__(self, progress: Callable[[int, int], None], width: int, most: int) -> None:
        self._progress, self._width, self._most = progress, width, most

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        self._progress(input_ids.shape[1] - self._width, self._most)
        return scores


class _Chooser(LogitsProcessor):
    """Logits processor that leaves `generate` only the drawn token, and records its log-probability."""

    def __init__(self, uniform: Tensor | None, temperature: float, *, width: int, entropy: bool) -> None:
        self._uniform, self._temperature, self._width, self._entropy = uniform, temperature, width, entropy
        self._log_probs: list[Tensor] = []
        self._entropies: list[Tensor] = []

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        step = input_ids.shape[1] - self._width
        token, log_prob, entropy = choose_tokens(
            scores.float().clone(),
            None if self._uniform is None else self._uniform[:, step],
            temperature=self._temperature,
            entropy=self._entropy,
        )
        check_finite(log_prob[:, None], rows=len(scores), first_step=step)
        self._log_probs.append(log_prob)
        if entropy is not None:
            self._entropies.append(entropy)
        return torch.full_like(scores, -torch.inf).scatter_(1, token[:, None], 0.0)

    def columns(self, rows: int) -> tuple[list[list[float]], list[list[float]]]:
        """Return log-probabilities and entropies, one list per row."""
        entropies = torch.stack(self._entropies, 1).tolist() if self._entropies else [[] for _ in range(rows)]
        return torch.stack(self._log_probs, 1).tolist(), entropies
