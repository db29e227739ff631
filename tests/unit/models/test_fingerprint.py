"""Names of weights and vocabularies."""

from __future__ import annotations

import copy

import torch
from tokenizers import AddedToken

from r2vpo.models.fingerprint import tokenizer_fingerprint, weights_fingerprint
from tests.tiny import tiny_model, tiny_tokenizer


def test_equal_weights_have_one_name_and_a_step_changes_it() -> None:
    model = tiny_model()
    first = weights_fingerprint(model)
    assert weights_fingerprint(tiny_model()) == weights_fingerprint(copy.deepcopy(model)) == first
    assert len(first) == 32 and weights_fingerprint(tiny_model(seed=1)) != first
    with torch.no_grad():
        next(model.parameters()).view(-1)[3] += 1e-6
    assert weights_fingerprint(model) != first
    names = {weights_fingerprint(tiny_model().to(dtype)) for dtype in (torch.bfloat16, torch.float16, torch.float64)}
    assert len(names | {first}) == 4


def test_a_vocabulary_is_named_by_what_its_ids_mean() -> None:
    tokenizer = tiny_tokenizer()
    first = tokenizer_fingerprint(tokenizer)
    assert tokenizer_fingerprint(tiny_tokenizer()) == first
    tokenizer.add_tokens([AddedToken("<tool>")])
    assert tokenizer_fingerprint(tokenizer) != first
