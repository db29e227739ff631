"""Sampling from a causal language model, each distinct prompt computed once.

The loop is our own: the prompts run through ``r2vpo.core.log_probs``, the same code that scores the
responses in training, so that sampler and trainer agree on positions and on what is attended to, and the
log-probability of every token is known at the moment it is drawn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs import extend, group_prompts, prompt_states, supports_shared_prefix
from r2vpo.rollout.attention import grouped_decoding
from r2vpo.rollout.cache import grow_from

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
    """

    response_ids: list[int]
    log_probs: list[float]
    finished: bool


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
    ):
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: pass a number above 0, or call greedy()")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}: pass at least 1")
        if rows_per_batch is not None and rows_per_batch < 1:
            raise ValueError(f"rows_per_batch is {rows_per_batch}: pass at least 1, or None")
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        with evaluating(base):
            reason = supports_shared_prefix(model)
        if reason is not None:
            raise ValueError(f"the shared-prefix sampler cannot sample from this model: it {reason}")
        self._model, self._decoder, self._head = base, base.get_decoder(), base.get_output_embeddings()
        self._eos_token_ids, self._pad_token_id = list(eos_token_ids), pad_token_id
        self._temperature, self._max_new_tokens = float(temperature), max_new_tokens
        self._rows_per_batch = rows_per_batch

    def sample(
        self, prompts: list[list[int]], samples_per_prompt: int, *, seed: int, first_row: int = 0
    ) -> list[Sample]:
        """Draw responses.

        Args:
            prompts: token ids of each prompt, without padding; a repeated prompt is computed once.
            samples_per_prompt: responses to draw for each.
            seed: of the generator that draws them; the global random state is neither read nor changed.
            first_row: place of the first response among those of all processes.

        Returns:
            The responses, those of the first prompt first.

        Raises:
            ValueError: no prompt, a prompt without a token, no sample asked for, or logits that are not
                finite.
        """
        if samples_per_prompt < 1:
            raise ValueError(f"samples_per_prompt is {samples_per_prompt}: pass at least 1")
        _check_prompts(prompts)
        rows = [prompt for prompt in prompts for _ in range(samples_per_prompt)]
        # Drawn on the CPU, all at once: the same numbers on every device and for every split into batches.
        generator = torch.Generator().manual_seed(seed)
        shape = (first_row + len(rows), self._max_new_tokens)
        return self._run(rows, torch.rand(shape, dtype=torch.float64, generator=generator)[first_row:])

    def greedy(self, prompts: list[list[int]]) -> list[Sample]:
        """Take the likeliest token at every step.

        Args:
            prompts: token ids of each prompt, without padding.

        Returns:
            One response a prompt, in order.

        Raises:
            ValueError: no prompt, a prompt without a token, or logits that are not finite.
        """
        _check_prompts(prompts)
        return self._run(prompts, None)

    def _run(self, rows: list[list[int]], uniform: Tensor | None) -> list[Sample]:
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
        record = _Record(len(rows), self._max_new_tokens, device)
        active = torch.arange(len(rows), device=device)
        ended = torch.zeros_like(active, dtype=torch.bool)
        for step in range(self._max_new_tokens):
            token, log_prob = self._choose(hidden, None if uniform is None else uniform[active, step], step)
            record.write(active, step, token, log_prob)
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

    def _choose(self, hidden: Tensor, uniform: Tensor | None, step: int) -> tuple[Tensor, Tensor]:
        """The next token of each row and its log-probability; only this position goes through the head."""
        logits = self._head(hidden).float()
        token = logits.argmax(-1) if uniform is None else None
        logits /= self._temperature
        normalizer = logits.logsumexp(-1)
        if not bool(normalizer.isfinite().all()):
            rows = int((~normalizer.isfinite()).sum())
            raise ValueError(
                f"the logits of {rows} of {len(logits)} rows are not finite at response token {step}: "
                "the weights have diverged, go back to a checkpoint or lower the learning rate"
            )
        if token is None:
            token = _inverse_cdf((logits - normalizer[:, None]).exp_(), uniform)
        log_prob = logits.gather(-1, token[:, None]).squeeze(-1) - normalizer
        return token, log_prob.clamp_(max=0.0)


def _check_prompts(prompts: list[list[int]]) -> None:
    if not prompts:
        raise ValueError("there is no prompt to sample from: pass at least one")
    for number, prompt in enumerate(prompts):
        if not prompt:
            raise ValueError(f"prompt {number} has no token: give every prompt at least one")


class _Record:
    """Tokens and log-probabilities of all rows of a batch, written a step at a time."""

    def __init__(self, rows: int, steps: int, device: torch.device):
        self._tokens = torch.zeros(rows, steps, dtype=torch.long, device=device)
        self._log_probs = torch.zeros(rows, steps, device=device)
        self._lengths = torch.full((rows,), steps, device=device)
        self._finished = torch.zeros(rows, dtype=torch.bool, device=device)

    def write(self, rows: Tensor, step: int, token: Tensor, log_prob: Tensor) -> None:
        self._tokens[rows, step], self._log_probs[rows, step] = token, log_prob

    def end(self, rows: Tensor, step: int) -> None:
        self._lengths[rows], self._finished[rows] = step + 1, True

    def samples(self) -> list[Sample]:
        columns = (self._tokens, self._log_probs, self._lengths, self._finished)
        return [
            Sample(tokens[:length], log_probs[:length], finished)
            for tokens, log_probs, length, finished in zip(*(column.tolist() for column in columns), strict=True)
        ]


def _inverse_cdf(probabilities: Tensor, uniform: Tensor | None) -> Tensor:
    """The token at which the cumulative distribution passes a uniform number: (B, V) and (B,) to (B,).

    A sum in float64, so that the rare tokens keep their share of a large vocabulary.
    """
    cumulative = probabilities.cumsum(-1, dtype=torch.float64)
    total = cumulative[:, -1:]
    # Strictly below the total: a token of probability 0 at the end of the vocabulary is never drawn.
    point = torch.minimum(uniform[:, None] * total, total.nextafter(total.new_zeros(())))
    return torch.searchsorted(cumulative, point, right=True).squeeze(-1)


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
