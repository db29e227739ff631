"""The short rows with which a model is checked, and their reference log-probabilities from the bare model."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs import PrefixBatch
from r2vpo.core.log_probs.shared_prefix import MIN_COMMON_TOKENS
from r2vpo.core.log_probs.support import keeps_states

LONGEST_WINDOW = 160
"""Prompts are made longer than any window up to this size, so that the behaviour beyond it is covered."""

TOKENS = 4
"""Tokens of a response."""

STATE_TOKENS = 16
"""The same for layers that keep a state: differences between computing a row at once and token by token add up."""

_FLOORS = {torch.float64: 1e-5, torch.float32: 2e-5, torch.float16: 0.01, torch.bfloat16: 0.05}
"""Root mean square difference of a row, nats, that counts as rounding in any model with weights of this dtype; tokens
are drawn in float32 whatever the dtype."""


NOISE_FACTOR, TRIALS = 3.0, (3, 8)
"""How many times the model's own rounding a difference may be, and how often that rounding is measured before a
difference is believed: whether rounding changes the choice of an expert is a matter of chance."""

_Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Probe:
    """Two prompts with a common start, the second shorter, and two responses to each; the first two start alike.

    Attributes:
        prompts: token ids of each.
        responses: token ids of each response, those of the first prompt first.
        samples: responses per prompt.
        tokens: length of the longest response.
        pad_token_id: id that pads the prompts.
        temperature: temperature of all log-probabilities; not 1, so that its effect is covered.
        tolerance: nats, according to the model's precision.
        device: device of the model.
    """

    prompts: list[list[int]]
    responses: list[list[int]]
    samples: int
    tokens: int
    pad_token_id: int
    temperature: float
    tolerance: float
    device: torch.device

    @classmethod
    def of(cls, base: Any, pad_token_id: int | None, longest: int | None) -> Probe:
        """Draw the rows for a model; they are the same every time.

        Args:
            base: the model.
            pad_token_id: the tokenizer's; None for the model's own.
            longest: largest number of tokens that a row will ever have; None if it is not known.
        """
        config = base.config.get_text_config(decoder=True) if hasattr(base.config, "get_text_config") else base.config
        samples, tokens = 2, STATE_TOKENS if keeps_states(config) else TOKENS
        start = max([MIN_COMMON_TOKENS + 1, *(window + 2 for window in _windows(config, longest))])
        usable = _usable_tokens(base, config)
        generator = torch.Generator().manual_seed(0)

        def draw(count: int) -> list[int]:
            return [usable[place] for place in torch.randint(len(usable), (count,), generator=generator).tolist()]

        common, opening = draw(start), draw(1)
        if pad_token_id is None:
            pad_token_id = getattr(config, "pad_token_id", None) or 0
        return cls(
            prompts=[common + draw(4), common + draw(1)],
            # The first two start alike; the second is shorter, with padding after it, and its row is as long as those
            # of the second prompt, so that they share one call of the model.
            responses=[opening + draw(tokens - 1), opening + draw(tokens - 4), draw(tokens), draw(tokens)],
            samples=samples,
            tokens=tokens,
            pad_token_id=pad_token_id,
            temperature=0.7,
            tolerance=_floor(base),
            device=next(base.parameters()).device,
        )

    def batch(self) -> PrefixBatch:
        """Build a batch of all rows as in the trainer: prompts padded on the left, one response shorter."""
        longest = max(map(len, self.prompts))
        ids = [[self.pad_token_id] * (longest - len(prompt)) + prompt for prompt in self.prompts]
        lengths = torch.tensor([len(prompt) for prompt in self.prompts])
        wanted = torch.arange(self.tokens) < torch.tensor([len(response) for response in self.responses])[:, None]
        responses = [row + [self.pad_token_id] * (self.tokens - len(row)) for row in self.responses]
        return PrefixBatch(
            prompt_ids=torch.tensor(ids, device=self.device),
            prompt_mask=(torch.arange(longest) >= longest - lengths[:, None]).to(self.device),
            group_index=torch.arange(len(self.prompts), device=self.device).repeat_interleave(self.samples),
            response_ids=torch.tensor(responses, device=self.device),
            response_mask=wanted.to(self.device),
        )


class Alone:
    """Reference log-probabilities from the bare model for the rows of a probe, and how far rounding moves them.

    Args:
        base: the model, in evaluation mode.
        probe: prompts, temperature and precision.

    Attributes:
        tolerance: the largest root mean square difference of a row that counted as rounding, at least that of any
            model, nats.
    """

    def __init__(self, base: Any, probe: Probe) -> None:
        self._base, self._probe, self.tolerance = base, probe, probe.tolerance
        # Samplers draw with the same random numbers, so most of them give the same rows.
        self._known: dict[_Rows, list[Tensor]] = {}
        self._noise: dict[tuple[_Rows, int], list[float]] = {}

    def log_probs(self, responses: Sequence[list[int]]) -> list[Tensor]:
        """Return the reference log-probabilities of these responses, see `reference`."""
        key = tuple(map(tuple, responses))
        if key not in self._known:
            self._known[key] = reference(self._base, self._probe, responses)
        return self._known[key]

    def is_rounding(self, differences: Sequence[float], responses: Sequence[list[int]]) -> bool:
        """Tell whether each row's root mean square difference is rounding, whose size is measured only if it matters.

        Args:
            differences: differences of the first rows, or of all, nats.
            responses: all rows.
        """
        floor = self._probe.tolerance
        if all(difference <= floor for difference in differences):
            return True
        for trials in TRIALS:
            key = (tuple(map(tuple, responses)), trials)
            if key not in self._noise:
                self._noise[key] = noise(self._base, self._probe, responses, self.log_probs(responses), trials)
            limits = [max(floor, NOISE_FACTOR * rounding) for rounding in self._noise[key]]
            # NaN does not count as small.
            if all(difference <= limit for difference, limit in zip(differences, limits, strict=False)):
                self.tolerance = max(self.tolerance, *limits)
                return True
        return False


def reference(base: Any, probe: Probe, responses: Sequence[list[int]]) -> list[Tensor]:
    """Compute log-probabilities of responses by the bare model: no padding, mask, positions or cache.

    Args:
        base: the model, in evaluation mode.
        probe: prompts and temperature.
        responses: the responses, those of the first prompt first.

    Returns:
        (T,) nats, float64, on the CPU, for each response.
    """
    options = {"use_cache": False} if "use_cache" in inspect.signature(base.forward).parameters else {}
    rows = [(probe.prompts[row // probe.samples], response) for row, response in enumerate(responses)]
    found: list[Tensor] = [torch.empty(0)] * len(rows)
    # Rows of equal length need no padding and are computed together.
    for length in {len(prompt) + len(response) for prompt, response in rows}:
        alike = [row for row, parts in enumerate(rows) if sum(map(len, parts)) == length]
        ids = torch.tensor([rows[row][0] + rows[row][1] for row in alike], device=probe.device)
        logits = base(input_ids=ids, **options).logits.double().cpu()
        for place, row in enumerate(alike):
            prompt, response = rows[row]
            everything = (logits[place, len(prompt) - 1 : -1] / probe.temperature).log_softmax(-1)
            found[row] = everything.gather(-1, torch.tensor(response)[:, None]).squeeze(-1)
    return found


def noise(
    base: Any, probe: Probe, responses: Sequence[list[int]], before: Sequence[Tensor], trials: int
) -> list[float]:
    """Measure how far the reference itself moves with the rounding of the model's precision, nats.

    The embeddings are moved by half a unit in the last place, so that every later operation rounds differently.

    Args:
        base: the model, in evaluation mode.
        probe: prompts and temperature.
        responses: the responses, those of the first prompt first.
        before: their reference.
        trials: number of perturbations.

    Returns:
        The root mean square difference of each row, the largest of all trials; 0 for a model without embeddings that
        can be moved. Rows differ by orders of magnitude where rounding decides which expert a token goes to.
    """
    largest = [0.0 for _ in responses]
    embeddings = base.get_input_embeddings() if hasattr(base, "get_input_embeddings") else None
    if embeddings is None:
        return largest
    unit = torch.finfo(_dtype(base)).eps / 2
    generator = torch.Generator().manual_seed(1)

    def moved(module: Any, args: Any, output: Tensor) -> Tensor:
        signs = torch.randint(-1, 2, output.shape, generator=generator).to(output.device)
        return (output.double() * (1 + 2 * unit * signs)).to(output.dtype)

    for _ in range(trials):
        hook = embeddings.register_forward_hook(moved)
        try:
            after = reference(base, probe, responses)
        finally:
            hook.remove()
        rows = [float((a - b).square().mean().sqrt()) for a, b in zip(after, before, strict=True)]
        largest = [max(pair) for pair in zip(largest, rows, strict=True)]
    return largest


def _windows(config: Any, longest: int | None) -> list[int]:
    """Return the sizes of the windows that rows will exceed, as far as a probe can."""
    found = [getattr(config, name, None) for name in ("sliding_window", "attention_chunk_size", "window_size")]
    largest = LONGEST_WINDOW if longest is None else min(LONGEST_WINDOW, longest - 1)
    return [window for window in found if isinstance(window, int) and 0 < window <= largest]


def _usable_tokens(base: Any, config: Any) -> list[int]:
    """Return ids of ordinary text: special ones may be embedded, positioned or masked differently."""
    sizes = [getattr(config, "vocab_size", None)]
    embeddings = base.get_input_embeddings() if hasattr(base, "get_input_embeddings") else None
    weight = getattr(embeddings, "weight", None)
    sizes += [weight.shape[0]] if weight is not None and weight.dim() == 2 else []
    size = min(value for value in sizes if value)
    special: set[int] = set()
    for owner in (base.config, config, getattr(base, "generation_config", None)):
        for name, value in vars(owner).items() if owner is not None else ():
            if name.endswith("token_id"):
                special.update(value if isinstance(value, list | tuple) else [value])
    return [token for token in range(size) if token not in special] or list(range(size))


def _floor(base: Any) -> float:
    floor = _FLOORS.get(_dtype(base), 0.05)
    lowered = torch.get_float32_matmul_precision() != "highest" or torch.backends.cuda.matmul.allow_tf32
    on_accelerator = next(base.parameters()).device.type != "cpu"
    return max(floor, 0.01) if lowered and on_accelerator else floor


def _dtype(base: Any) -> torch.dtype:
    """Return the coarsest dtype in which the model computes."""
    found = {parameter.dtype for parameter in base.parameters() if parameter.is_floating_point()}
    found |= {torch.bfloat16} if any(not p.is_floating_point() for p in base.parameters()) else set()
    return max(found, key=lambda dtype: torch.finfo(dtype).eps, default=torch.float32)
