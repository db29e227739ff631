"""Sampling from a causal language model, each distinct prompt computed once.

The loop is our own: the prompts run through ``r2vpo.core.log_probs``, the same code that scores the
responses in training, so that sampler and trainer agree on positions and on what is attended to, and the
log-probability of every token is known at the moment it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs import extend, group_prompts, length_limits, prompt_states, supports_shared_prefix
from r2vpo.rollout.attention import grouped_decoding
from r2vpo.rollout.cache import grow_from
from r2vpo.rollout.draws import check_prompts, choose_tokens, uniform_numbers

COMPACT_SHARE = 0.25
"""Rows that have ended are dropped from the batch once they are this share of it: dropping copies the
cache."""


@dataclass(frozen=True)
class Sample:
    """A response.

    Attributes:
        response_ids: token ids, the end-of-sequence token included where there is one.
        log_probs: log-probability of each token in nats, of the distribution it was drawn from: the
            temperature is included. A greedy response has those of the distribution at the sampler's
            temperature.
        finished: True if it ended with an end-of-sequence token, False if it was cut at the limit.
        entropies: entropy of that distribution at each token, in nats; empty unless the sampler was asked for it.
    """

    response_ids: list[int]
    log_probs: list[float]
    finished: bool
    entropies: list[float] = field(default_factory=list)


class SharedPrefixSampler:
    """Draws responses from ``softmax(logits / temperature)``, without top-p, top-k or a penalty.

    Every row has random numbers of its own, which depend on the seed and on the row's place alone, so samples
    change neither with ``rows_per_batch`` nor with the number of processes, but for the rounding of the
    model.

    Args:
        model: a causal language model; it is called in eval mode without gradient and left as it was.
        eos_token_ids: ids that end a response; may be empty.
        pad_token_id: id that fills up shorter prompts; it is never attended to.
        temperature: divides the logits, dimensionless, above 0.
        max_new_tokens: limit of a response, in tokens.
        rows_per_batch: responses generated at once, to bound memory; None for all.
        entropy: record the entropy at every token, which costs one more pass over the vocabulary.

    Raises:
        ValueError: an option out of its range, or a model whose prompts cannot be computed once for all
            samples.
    """

    def __init__(
        self,
        model: Any,
        *,
        eos_token_ids: Sequence[int],
        pad_token_id: int,
        temperature: float = 1.0,
        max_new_tokens: int,
        rows_per_batch: int | None = None,
        entropy: bool = False,
    ):
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: pass a number above 0, or call greedy()")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}: pass at least 1")
        if rows_per_batch is not None and rows_per_batch < 1:
            raise ValueError(f"rows_per_batch is {rows_per_batch}: pass at least 1, or None")
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        with evaluating(base):
            # How long the prompts are is known once there are some.
            reason = supports_shared_prefix(model, longest=max_new_tokens)
        if reason is not None:
            raise ValueError(f"the shared-prefix sampler cannot sample from this model: it {reason}")
        self._model, self._decoder, self._head = base, base.get_decoder(), base.get_output_embeddings()
        self._eos_token_ids, self._pad_token_id = list(eos_token_ids), pad_token_id
        self._temperature, self._max_new_tokens = float(temperature), max_new_tokens
        self._rows_per_batch, self._entropy = rows_per_batch, entropy

    def sample(
        self, prompts: list[list[int]], samples_per_prompt: int, *, seed: int | Sequence[int], first_row: int = 0
    ) -> list[Sample]:
        """Draw responses.

        Args:
            prompts: token ids of each prompt, without padding; a repeated prompt is computed once.
            samples_per_prompt: responses to draw for each.
            seed: of the generator that draws them; the global random state is neither read nor changed. A list has
                a seed for each prompt, whose samples then do not depend on the other prompts.
            first_row: place of the first response among those of all processes; not with a list of seeds.

        Returns:
            The responses, those of the first prompt first.

        Raises:
            ValueError: no prompt, a prompt without a token, no sample asked for, or logits that are not
                finite.
        """
        if samples_per_prompt < 1:
            raise ValueError(f"samples_per_prompt is {samples_per_prompt}: pass at least 1")
        check_prompts(prompts)
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        seeds = seed if isinstance(seed, int) else [(one, samples_per_prompt) for one in seed]
        return self._run(rows, uniform_numbers(seeds, len(rows), self._max_new_tokens, first_row=first_row))

    def greedy(self, prompts: list[list[int]]) -> list[Sample]:
        """Take the likeliest token at every step.

        Args:
            prompts: token ids of each prompt, without padding.

        Returns:
            One response a prompt, in order.

        Raises:
            ValueError: no prompt, a prompt without a token, or logits that are not finite.
        """
        check_prompts(prompts)
        return self._run(prompts, None)

    def _run(self, rows: list[list[int]], uniform: Tensor | None) -> list[Sample]:
        longest = max(map(len, rows)) + self._max_new_tokens
        for limit in length_limits(self._model.config):
            if longest > limit.tokens:
                raise ValueError(
                    f"the shared-prefix sampler cannot sample {longest} tokens, prompt and response, from this model: "
                    f"it {limit.reason}; use GenerateSampler"
                )
        size = self._rows_per_batch or len(rows)
        samples: list[Sample] = []
        with torch.no_grad(), evaluating(self._model):
            for start in range(0, len(rows), size):
                part = None if uniform is None else uniform[start : start + size]
                samples.extend(self._generate(rows[start : start + size], part))
        return samples

    def _generate(self, rows: list[list[int]], uniform: Tensor | None) -> list[Sample]:
        device = self._head.weight.device
        prompt_ids, prompt_mask, index = group_prompts(*self._pad(rows, device))
        prompts = prompt_states(self._decoder, prompt_ids, prompt_mask)
        cache, mask, hidden = prompts.cache, prompts.mask[index], prompts.last_hidden[index]
        grow_from(cache, index, self._max_new_tokens)
        uniform = None if uniform is None else uniform.to(device)
        eos = torch.tensor(self._eos_token_ids, dtype=torch.long, device=device)
        record = _Record(len(rows), self._max_new_tokens, device, entropy=self._entropy)
        active = torch.arange(len(rows), device=device)
        ended = torch.zeros_like(active, dtype=torch.bool)
        for step in range(self._max_new_tokens):
            token, log_prob, entropy = choose_tokens(
                # Only this position goes through the head.
                self._head(hidden).float(),
                None if uniform is None else uniform[active, step],
                temperature=self._temperature,
                step=step,
                entropy=self._entropy,
            )
            record.write(active, step, token, log_prob, entropy)
            ending = torch.isin(token, eos) & ~ended
            record.end(active[ending], step)
            ended |= ending
            count = int(ended.sum())
            if count == len(active) or step + 1 == self._max_new_tokens:
                break
            if count >= COMPACT_SHARE * len(active):
                keep = (~ended).nonzero().squeeze(1)
                for layer in cache.layers:
                    layer.select(keep)
                active, ended, token, mask = active[keep], ended[keep], token[keep], mask[keep]
            mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            with grouped_decoding(self._decoder):
                hidden = extend(self._decoder, token[:, None], mask, cache)[0][:, -1]
        return record.samples()

    def _pad(self, rows: list[list[int]], device: torch.device) -> tuple[Tensor, Tensor]:
        """Left-padded (B, P) token ids and their mask."""
        longest = max(map(len, rows))
        ids = [[self._pad_token_id] * (longest - len(row)) + row for row in rows]
        lengths = torch.tensor([len(row) for row in rows])
        mask = torch.arange(longest) >= longest - lengths[:, None]
        return torch.tensor(ids, device=device), mask.to(device)


class _Record:
    """Tokens and log-probabilities of all rows of a batch, written a step at a time."""

    def __init__(self, rows: int, steps: int, device: torch.device, *, entropy: bool = False):
        self._entropies = torch.zeros(rows, steps if entropy else 0, device=device)
        self._tokens = torch.zeros(rows, steps, dtype=torch.long, device=device)
        self._log_probs = torch.zeros(rows, steps, device=device)
        self._lengths = torch.full((rows,), steps, device=device)
        self._finished = torch.zeros(rows, dtype=torch.bool, device=device)

    def write(self, rows: Tensor, step: int, token: Tensor, log_prob: Tensor, entropy: Tensor | None) -> None:
        self._tokens[rows, step], self._log_probs[rows, step] = token, log_prob
        if entropy is not None:
            self._entropies[rows, step] = entropy

    def end(self, rows: Tensor, step: int) -> None:
        self._lengths[rows], self._finished[rows] = step + 1, True

    def samples(self) -> list[Sample]:
        columns = (self._tokens, self._log_probs, self._lengths, self._finished, self._entropies)
        return [
            Sample(tokens[:length], log_probs[:length], finished, entropies[:length])
            for tokens, log_probs, length, finished, entropies in zip(
                *(column.tolist() for column in columns), strict=True
            )
        ]


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Eval mode, and afterwards training mode again for the modules that were in it."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
