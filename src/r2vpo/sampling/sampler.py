"""Sampling from a causal language model, with each distinct prompt computed once.

This module has its own sampling loop: the prompts run through ``r2vpo.core.log_probs``, the same code that scores the
responses in training, so sampler and trainer agree on positions and on what is attended to, and the log-probability of
every token is known as soon as it is drawn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs import PromptStates, length_limits, prompt_states, supports_shared_prefix
from r2vpo.core.log_probs.layout import PromptLayout, to_device
from r2vpo.core.log_probs.shared_prefix import attention_mask, run
from r2vpo.sampling.attention import grouped_decoding
from r2vpo.sampling.cache import grow_from
from r2vpo.sampling.draws import check_finite, check_prompts, choose_tokens, uniform_numbers

COMPACT_SHARE = 0.25
"""Finished rows are dropped from the batch once they make up this share of it; dropping them copies the cache."""

TOKENS_BETWEEN_POLLS = {"cpu": 1}
ACCELERATOR_TOKENS_BETWEEN_POLLS = 16
"""Tokens between two checks for finished rows, by device type. A check waits until an accelerator has drawn the token,
while up to 15 surplus tokens are drawn without a check; a CPU never has queued work."""

Progress = Callable[[int, int, int, int], None]
"""Takes finished responses, all responses, tokens drawn for each of the others, and the most tokens of a response."""


@dataclass(frozen=True)
class Sample:
    """A response.

    Attributes:
        response_ids: token ids, including the end-of-sequence token if there is one.
        log_probs: log-probability of each token in nats, of the distribution from which it was drawn, including the
            temperature. A greedy response has those of the distribution at the sampler's temperature.
        finished: True if it ended with an end-of-sequence token, False if it was cut at the limit.
        entropies: entropy of that distribution at each token, in nats; empty unless the sampler records it.
    """

    response_ids: list[int]
    log_probs: list[float]
    finished: bool
    entropies: list[float] = field(default_factory=list)


class SharedPrefixSampler:
    """Sampler that draws responses from ``softmax(logits / temperature)``, without top-p, top-k or a penalty.

    Every row has its own random numbers, which depend only on the seed and on the row's position, so samples change
    neither with ``rows_per_batch`` nor with the number of processes, except for the model's rounding.

    Args:
        model: a causal language model; it is called in eval mode without gradient, and its modes are restored
            afterwards.
        eos_token_ids: ids that end a response; may be empty.
        pad_token_id: id that pads shorter prompts; it is never attended to.
        temperature: divides the logits, dimensionless, above 0.
        max_new_tokens: limit of a response, in tokens.
        rows_per_batch: responses generated at once, to bound memory; None for all.
        entropy: record the entropy at every token, which costs one more pass over the vocabulary.
        progress: called now and then with the number of finished responses and of all, the tokens drawn so far for each
            of the others, and their limit.

    Raises:
        ValueError: an option is out of range, or the model's prompts cannot be computed once for all samples.
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
        progress: Progress | None = None,
    ):
        if not temperature > 0:
            raise ValueError(f"temperature is {temperature}: pass a number above 0, or call greedy()")
        if max_new_tokens < 1:
            raise ValueError(f"max_new_tokens is {max_new_tokens}: pass at least 1")
        if rows_per_batch is not None and rows_per_batch < 1:
            raise ValueError(f"rows_per_batch is {rows_per_batch}: pass at least 1, or None")
        base = model.get_base_model() if hasattr(model, "get_base_model") else model
        with evaluating(base):
            # The length of the prompts is known only when sampling.
            reason = supports_shared_prefix(model, longest=max_new_tokens)
        if reason is not None:
            raise ValueError(f"the shared-prefix sampler cannot sample from this model: it {reason}")
        self._model, self._decoder, self._head = base, base.get_decoder(), base.get_output_embeddings()
        self._eos_token_ids, self._pad_token_id = list(eos_token_ids), pad_token_id
        self._temperature, self._max_new_tokens = float(temperature), max_new_tokens
        self._rows_per_batch, self._entropy, self._progress = rows_per_batch, entropy, progress

    def sample(
        self, prompts: list[list[int]], samples_per_prompt: int, *, seed: int | Sequence[int], first_row: int = 0
    ) -> list[Sample]:
        """Draw responses.

        Args:
            prompts: token ids of each prompt, without padding; a repeated prompt is computed once.
            samples_per_prompt: responses to draw for each.
            seed: seed of the generator that draws them; the global random state is neither read nor changed. A list has
                one seed per prompt, whose samples then do not depend on the other prompts.
            first_row: position of the first response among those of all processes; not with a list of seeds.

        Returns:
            The responses, those of the first prompt first.

        Raises:
            ValueError: there is no prompt, a prompt has no token, no sample is requested, or logits are not finite.
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
            One response per prompt, in order.

        Raises:
            ValueError: there is no prompt, a prompt has no token, or logits are not finite.
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
                samples.extend(self._generate(rows[start : start + size], part, finished=start, of_rows=len(rows)))
        return samples

    def _generate(self, rows: list[list[int]], uniform: Tensor | None, *, finished: int, of_rows: int) -> list[Sample]:
        device = self._head.weight.device
        prompts, index, length = self._run_prompts(rows, device)
        cache, hidden = prompts.cache, prompts.last_hidden[index]
        mask = prompts.mask[index] if prompts.padded else None
        grow_from(cache, index, self._max_new_tokens)
        uniform = None if uniform is None else to_device(uniform, device)
        eos = to_device(torch.tensor(self._eos_token_ids, dtype=torch.long), device)
        record = _Record(len(rows), self._max_new_tokens, eos, entropy=self._entropy)
        active = torch.arange(len(rows), device=device)
        between = TOKENS_BETWEEN_POLLS.get(device.type, ACCELERATOR_TOKENS_BETWEEN_POLLS)
        for step in range(self._max_new_tokens):
            token, log_prob, entropy = choose_tokens(
                # Only this position goes through the output layer.
                self._head(hidden).float(),
                None if uniform is None else uniform[active, step],
                temperature=self._temperature,
                entropy=self._entropy,
            )
            record.write(active, step, token, log_prob, entropy)
            if step + 1 == self._max_new_tokens:
                break
            if (step + 1) % between == 0:
                going = record.poll(active)
                if self._progress is not None:
                    self._progress(finished + len(rows) - len(going), of_rows, step + 1, self._max_new_tokens)
                if not going:
                    break
                if len(active) - len(going) >= COMPACT_SHARE * len(active):
                    keep = to_device(torch.tensor(going), device)
                    for layer in cache.layers:
                        layer.select(keep)
                    active, token, length = active[keep], token[keep], length[keep]
                    mask = None if mask is None else mask[keep]
            if mask is not None:
                mask = torch.cat([mask, mask.new_ones(len(active), 1)], dim=1)
            seen = attention_mask(self._decoder, mask, 1)
            with grouped_decoding(self._decoder):
                hidden = run(self._decoder, token[:, None], seen, (length + step)[:, None], cache)[0][:, -1]
        record.poll(active)
        return record.samples()

    def _run_prompts(self, rows: list[list[int]], device: torch.device) -> tuple[PromptStates, Tensor, Tensor]:
        """Run the distinct prompts; return their states, the index of each row's prompt (B,) and its length (B,)."""
        distinct = {prompt: place for place, prompt in enumerate(dict.fromkeys(map(tuple, rows)))}
        prompts = [list(prompt) for prompt in distinct]
        layout = PromptLayout.of(prompts)
        ids = [[self._pad_token_id] * (layout.longest - len(prompt)) + prompt for prompt in prompts]
        mask = torch.arange(layout.longest) >= layout.longest - torch.tensor(layout.lengths)[:, None]
        states = prompt_states(
            self._decoder, to_device(torch.tensor(ids), device), to_device(mask, device), layout=layout
        )
        index = torch.tensor([distinct[tuple(row)] for row in rows])
        length = torch.tensor([len(row) for row in rows])
        return states, to_device(index, device), to_device(length, device)


class _Record:
    """Tokens and log-probabilities of all rows of a batch, written step by step and read at each poll."""

    def __init__(self, rows: int, steps: int, eos: Tensor, *, entropy: bool = False):
        self._entropies = torch.zeros(rows, steps if entropy else 0, device=eos.device)
        self._tokens = torch.zeros(rows, steps, dtype=torch.long, device=eos.device)
        self._log_probs = torch.zeros(rows, steps, device=eos.device)
        self._ended = torch.zeros(rows, dtype=torch.bool, device=eos.device)
        self._eos, self._polled, self._written = eos, 0, 0

    def write(self, rows: Tensor, step: int, token: Tensor, log_prob: Tensor, entropy: Tensor | None) -> None:
        """Record a token per row; rows that have already ended may continue, but their further tokens are not used."""
        ended = self._ended[rows]
        self._tokens[rows, step], self._log_probs[rows, step] = token, log_prob.masked_fill(ended, 0.0)
        if entropy is not None:
            self._entropies[rows, step] = entropy
        self._ended[rows] = ended | (token[:, None] == self._eos).any(1)
        self._written = step + 1

    def poll(self, rows: Tensor) -> list[int]:
        """Return the positions, among these rows, of those that continue; the only wait for the device.

        Raises:
            ValueError: logits were not finite since the last poll.
        """
        news = self._log_probs[:, self._polled : self._written]
        *ended, finite = torch.cat([self._ended[rows], news.isfinite().all().view(1)]).tolist()
        if not finite:
            check_finite(news, rows=len(rows), first_step=self._polled)
        self._polled = self._written
        return [place for place, over in enumerate(ended) if not over]

    def samples(self) -> list[Sample]:
        ends = (self._tokens[..., None] == self._eos).any(-1)
        finished = ends.any(1)
        # argmax returns the first of equal values.
        lengths = torch.where(finished, ends.long().argmax(1) + 1, ends.shape[1])
        columns = (self._tokens, self._log_probs, lengths, finished, self._entropies)
        return [
            Sample(tokens[:length], log_probs[:length], over, entropies[:length])
            for tokens, log_probs, length, over, entropies in zip(*(column.tolist() for column in columns), strict=True)
        ]


@contextmanager
def evaluating(model: Any) -> Iterator[None]:
    """Context manager for eval mode; afterwards restores training mode for the modules that were in it."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True
