"""What a model may use by the self-check, and how far that is from the model alone on rows of our own."""

from __future__ import annotations

import functools
import inspect
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.log_probs import PrefixBatch, install, length_limits
from r2vpo.sampling import GenerateSampler, SelfCheck, SharedPrefixSampler, check_model
from r2vpo.sampling.sampler import evaluating
from r2vpo.sampling.self_check import BY_LENGTH, GENERATE, ORDINARY, SHARED, SHARED_SAMPLER
from tests.architectures.sizes import ATTENTION_WINDOW, VOCABULARY
from tests.architectures.zoo import Entry, build, config_of

TEMPERATURE = 0.8
COMMON, TAILS = 20, (3, 17, 9)
RESPONSES = (24, 5, 18, 30, 1, 12)
LONGEST = COMMON + max(TAILS) + max(RESPONSES)
"""Tokens of the longest row, prompt and response: beyond windows of 12 and positions made for 32."""
CLOSE = 1e-5
"""Nats, in float32."""
WIDE = LONGEST + 5
"""A window that no row reaches the end of."""


@dataclass
class Outcome:
    """What became of one model.

    Attributes:
        check: the self-check's answer.
        differences: largest difference from the reference, in nats, of every way that the check calls right.
        gradient: relative difference of the gradient through the training forward, None if it is refused.
        entropy: mean entropy of the reference's distributions, in nats.
        ahead: how much the reference changes when what follows a token is left out, in nats.
        order: how much the reference's last tokens change when two tokens of the start change places, in nats.
        reference: (N,) log-probabilities by the model alone.
        rounding: how far the reference moves when the embeddings are rounded otherwise, in nats; measured where a
            difference is above ``CLOSE`` alone.
    """

    check: SelfCheck
    differences: dict[str, float] = field(default_factory=dict)
    gradient: float | None = None
    entropy: float = 0.0
    ahead: float = 0.0
    order: float = 0.0
    reference: Tensor | None = None
    rounding: float = 0.0


@functools.cache
def outcome(entry: Entry, window: int = ATTENTION_WINDOW) -> Outcome:
    """Check a model, and measure what the check allows."""
    model = build(entry, window=window)
    modes = [module.training for module in model.modules()]
    check = check_model(model, pad_token_id=0, longest=LONGEST)
    assert [module.training for module in model.modules()] == modes
    found = Outcome(check)
    if check.refusal is not None:
        return found
    install(model)
    with evaluating(model):
        rows = Rows.draw()
        expected = rows.reference(model)
        found.entropy, found.ahead, found.order = rows.entropy(model), rows.ahead(model, expected), rows.order(model)
        found.reference = torch.cat(expected)
        right = {path.name for path in check.paths if path.right}
        for name in (ORDINARY, SHARED):
            if name in right:
                for kind, part in {"left-padded": rows, "of one length": Rows.draw(tails=(8, 8, 8))}.items():
                    wanted = part.reference(model)
                    with torch.no_grad():
                        got = forward(model, part.batch(), shared=name == SHARED)
                    found.differences[f"{name}, {kind}"] = part.furthest(got, wanted)
        for name in (SHARED_SAMPLER, GENERATE, BY_LENGTH):
            if name in right:
                found.differences[name] = sampled(name, model, rows)
        if max(found.ahead, *found.differences.values()) > CLOSE:
            found.rounding = rows.rounding(model, expected)
        found.gradient = gradient_difference(model, rows, shared=check.shares_prompts)
    return found


def limited(entry: Entry) -> bool:
    """Whether the entry's rows go beyond a length from which on it computes differently."""
    return any(LONGEST > limit.tokens for limit in length_limits(config_of(entry)))


@dataclass(frozen=True)
class Rows:
    """Prompts with a common start and two responses to each."""

    prompts: list[list[int]]
    responses: list[list[int]]

    @classmethod
    def draw(cls, tails: tuple[int, ...] = TAILS) -> Rows:
        generator = torch.Generator().manual_seed(11)

        def draw(count: int) -> list[int]:
            return torch.randint(3, VOCABULARY, (count,), generator=generator).tolist()

        common = draw(COMMON)
        return cls([common + draw(tail) for tail in tails], [draw(count) for count in RESPONSES])

    def pairs(self) -> list[tuple[list[int], list[int]]]:
        return [(self.prompts[row // 2], response) for row, response in enumerate(self.responses)]

    def batch(self) -> PrefixBatch:
        """As the trainer has them. What stands in the padding are ordinary tokens: nothing may depend on it."""
        width, longest = max(map(len, self.prompts)), max(map(len, self.responses))
        return PrefixBatch(
            torch.tensor([[7] * (width - len(one)) + one for one in self.prompts]),
            torch.tensor([[False] * (width - len(one)) + [True] * len(one) for one in self.prompts]),
            torch.arange(len(self.responses)) // 2,
            torch.tensor([one + [9] * (longest - len(one)) for one in self.responses]),
            torch.tensor([[True] * len(one) + [False] * (longest - len(one)) for one in self.responses]),
        )

    def reference(self, model: Any) -> list[Tensor]:
        with torch.no_grad():
            return [log_probs_alone(model, *pair) for pair in self.pairs()]

    def furthest(self, got: Tensor, expected: list[Tensor]) -> float:
        return max(float((got[row, : len(one)] - one).abs().max()) for row, one in enumerate(expected))

    def ahead(self, model: Any, expected: list[Tensor]) -> float:
        """How far log-probabilities are from those of rows that end earlier."""
        with torch.no_grad():
            halves = [log_probs_alone(model, prompt, one[: (len(one) + 1) // 2]) for prompt, one in self.pairs()]
        return max(float((one[: len(half)] - half).abs().max()) for half, one in zip(halves, expected, strict=True))

    def rounding(self, model: Any, expected: list[Tensor]) -> float:
        """How far the log-probabilities move when every embedding moves by up to a unit in its last place."""
        generator = torch.Generator().manual_seed(1)
        unit = torch.finfo(torch.float32).eps

        def moved(module: Any, args: Any, output: Tensor) -> Tensor:
            signs = torch.randint(-1, 2, output.shape, generator=generator)
            return (output.double() * (1 + unit * signs)).float()

        hook = model.get_input_embeddings().register_forward_hook(moved)
        try:
            trials = [torch.cat(self.reference(model)) for _ in range(3)]
        finally:
            hook.remove()
        return max(float((trial - torch.cat(expected)).abs().max()) for trial in trials)

    def order(self, model: Any) -> float:
        """How far the log-probabilities of a response move when two of the prompt's last tokens change places."""
        prompt, response = self.pairs()[0]
        turned = [*prompt[:-3], prompt[-2], prompt[-3], prompt[-1]]
        with torch.no_grad():
            return float(
                (log_probs_alone(model, prompt, response) - log_probs_alone(model, turned, response)).abs().max()
            )

    def entropy(self, model: Any) -> float:
        with torch.no_grad():
            everything = log_softmax_alone(model, self.prompts[0] + self.responses[0])
        return float(torch.special.entr(everything.exp()).sum(-1).mean())


def log_softmax_alone(model: Any, ids: list[int]) -> Tensor:
    """(L, V) log-probabilities at the temperature of one row by itself: no padding, mask, positions or cache."""
    options = {"use_cache": False} if "use_cache" in inspect.signature(type(model).forward).parameters else {}
    return (model(input_ids=torch.tensor([ids]), **options).logits[0] / TEMPERATURE).log_softmax(-1)


def log_probs_alone(model: Any, prompt: list[int], response: list[int]) -> Tensor:
    """(T,) log-probabilities of a response by the model alone, in nats."""
    everything = log_softmax_alone(model, prompt + response)[len(prompt) - 1 : -1]
    return everything.gather(-1, torch.tensor(response)[:, None]).squeeze(-1)


def forward(model: Any, batch: PrefixBatch, *, shared: bool) -> Tensor:
    """(B, T) log-probabilities as the trainer asks for them."""
    return model(prefix_batch=batch, temperature=TEMPERATURE, shared=shared).log_probs


def sampled(name: str, model: Any, rows: Rows) -> float:
    """Largest difference between what a sampler says of the tokens that it drew and the model alone."""
    options: dict[str, Any] = dict(eos_token_ids=[1, 5], pad_token_id=0, temperature=TEMPERATURE, max_new_tokens=24)
    if name == SHARED_SAMPLER:
        sampler: Any = SharedPrefixSampler(model, **options)
    else:
        sampler = GenerateSampler(model, by_length=name == BY_LENGTH, **options)
    samples = sampler.sample(rows.prompts, 2, seed=5)
    drawn = Rows(rows.prompts, [sample.response_ids for sample in samples])
    pairs = zip(samples, drawn.reference(model), strict=True)
    return max(float((torch.tensor(sample.log_probs) - one).abs().max()) for sample, one in pairs)


def gradient_difference(model: Any, rows: Rows, *, shared: bool) -> float:
    """Norm of the difference between the gradient of the training forward and that of the model alone, relative."""
    weights = [torch.linspace(-1.0, 1.5, len(one)) for one in rows.responses]
    gradients = []
    for alone in (True, False):
        model.zero_grad()
        if alone:
            found = [log_probs_alone(model, *pair) for pair in rows.pairs()]
        else:
            found = list(forward(model, rows.batch(), shared=shared))
        sum((one[: len(weight)] * weight).sum() for one, weight in zip(found, weights, strict=True)).backward()
        gradients.append(
            torch.cat([p.grad.flatten() if p.grad is not None else p.new_zeros(p.numel()) for p in model.parameters()])
        )
    model.zero_grad()
    return float((gradients[0] - gradients[1]).norm() / gradients[0].norm())
