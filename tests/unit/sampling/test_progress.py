"""What samplers tell about their progress: true counts, and the same samples as without."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.sampling import GenerateSampler, SharedPrefixSampler
from tests.tiny import tiny_model, tiny_tokenizer

PROMPTS = [[5, 6, 7], [8, 9]]


@pytest.mark.parametrize("kind", [SharedPrefixSampler, GenerateSampler])
def test_counts_rise_to_all_responses(kind: Any) -> None:
    model, told = tiny_model(), list[tuple[int, int, int, int]]()
    ends = list(range(0, model.config.vocab_size, 8))  # so that responses end at different lengths
    options: dict[str, Any] = dict(
        eos_token_ids=ends, pad_token_id=tiny_tokenizer().pad_token_id, max_new_tokens=12, rows_per_batch=8
    )
    samples = kind(model, progress=lambda *counts: told.append(counts), **options).sample(PROMPTS, 8, seed=1)
    assert samples == kind(model, **options).sample(PROMPTS, 8, seed=1)
    assert {(of_rows, of_tokens) for _, of_rows, _, of_tokens in told} == {(16, 12)}
    finished = [rows for rows, *_ in told]
    assert finished == sorted(finished) and finished[0] < 8 <= finished[-1] <= 16
    lengths = [len(sample.response_ids) for sample in samples]
    assert max(tokens for *_, tokens, _ in told) <= max(lengths)
    if kind is SharedPrefixSampler:
        for rows, _, tokens, _ in told[: lengths.index(max(lengths[:8])) and max(lengths[:8]) - 1]:
            assert rows == sum(sample.finished and len(sample.response_ids) <= tokens for sample in samples[:8])
