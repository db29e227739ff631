"""Greedy answers through the model's own `generate` are those of the shared-prefix sampler."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.sampling import GenerateSampler, SharedPrefixSampler
from tests.unit.core.log_probs.small_models import VOCABULARY, small_model

# different lengths, so that all but the longest are padded on the left
PROMPTS = [[20, 21, 5], [*range(30, 43), 9], [4], [*range(20, 28), 8, 15, 16], [50, 51]]
ENDS = list(range(0, VOCABULARY, 5))


def greedy(kind: type, model: Any, eos: list[int], **changes: Any) -> list[tuple[list[int], bool]]:
    sampler = kind(model, eos_token_ids=eos, pad_token_id=0, max_new_tokens=12, **changes)
    return [(sample.response_ids, sample.finished) for sample in sampler.greedy(PROMPTS)]


@pytest.mark.parametrize("eos", [[3, 11], ENDS])
@pytest.mark.parametrize("kind", ["llama", "qwen2"])
def test_it_agrees_token_for_token_under_left_padding(kind: str, eos: list[int]) -> None:
    model = small_model(kind)
    assert greedy(GenerateSampler, model, eos) == greedy(SharedPrefixSampler, model, eos)
    answers = {tuple(tokens) for tokens, _ in greedy(GenerateSampler, model, eos)}
    assert len(answers) >= 4, "the answers do not depend on the prompts"


@pytest.mark.parametrize("rows_per_batch", [1, 2, 3])
def test_batches_smaller_than_the_prompts_change_nothing(rows_per_batch: int) -> None:
    model = small_model()
    whole = greedy(GenerateSampler, model, ENDS)
    assert greedy(GenerateSampler, model, ENDS, rows_per_batch=rows_per_batch) == whole


def test_no_call_is_larger_than_a_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    model, rows = small_model(), []
    generate = model.generate
    monkeypatch.setattr(
        model, "generate", lambda **options: rows.append(len(options["input_ids"])) or generate(**options)
    )
    greedy(GenerateSampler, model, ENDS, rows_per_batch=2)
    assert rows == [2, 2, 1]


def test_an_answer_ends_with_its_end_token_or_at_the_limit() -> None:
    answers = greedy(GenerateSampler, small_model(), ENDS)
    for tokens, finished in answers:
        assert not set(tokens[:-1]) & set(ENDS)
        assert finished == (tokens[-1] in ENDS)
        assert finished or len(tokens) == 12
    lengths = {len(tokens) for tokens, _ in answers}
    assert min(lengths) < 12, "no answer ended by itself"
    unended = greedy(GenerateSampler, small_model(), [VOCABULARY - 1])
    assert all(len(tokens) == 12 and not finished for tokens, finished in unended)


@pytest.mark.parametrize("training", [True, False])
def test_the_models_mode_is_given_back_and_no_gradient_is_kept(training: bool) -> None:
    model = small_model(attention_dropout=0.5).train(training)
    first = greedy(GenerateSampler, model, ENDS)
    assert model.training is training
    assert greedy(GenerateSampler, model, ENDS) == first, "it answers without dropout"
    assert all(parameter.grad is None for parameter in model.parameters())


@pytest.mark.parametrize("rows_per_batch", [2, 64])
def test_it_draws_the_tokens_of_the_shared_prefix_sampler(rows_per_batch: int) -> None:
    options = dict(eos_token_ids=ENDS, pad_token_id=0, temperature=0.8, max_new_tokens=12)
    expected = SharedPrefixSampler(small_model(), **options).sample(PROMPTS, 3, seed=[1, 2, 3, 4, 5])
    found = GenerateSampler(small_model(), rows_per_batch=rows_per_batch, **options).sample(
        PROMPTS, 3, seed=[1, 2, 3, 4, 5]
    )
    assert [(s.response_ids, s.finished) for s in found] == [(s.response_ids, s.finished) for s in expected]
    assert len({tuple(s.response_ids) for s in found}) > 5
