"""Every causal language model of transformers: what the self-check allows is right, and the rest is refused."""

import math
import re

import pytest
import torch
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from r2vpo.core.log_probs import forward_log_probs
from r2vpo.sampling.sampler import evaluating
from r2vpo.sampling.self_check import GENERATE
from tests.architectures.overrides import UNBUILDABLE
from tests.architectures.sizes import VOCABULARY
from tests.architectures.sweep import CLOSE, TEMPERATURE, WIDE, Rows, limited, outcome, sampled
from tests.architectures.table import FILE, text
from tests.architectures.zoo import Entry, build, entries

pytestmark = pytest.mark.slow

TYPES = 196
"""Causal language models that transformers has; another number means that the zoo has to be looked through."""

ROUNDINGS = 5
"""How many times the model's own rounding a difference may be, where that is more than 1e-5 nats."""

ENTRIES = entries()


def test_every_type_is_built_or_listed_with_a_reason():
    types = set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    assert len(types) == TYPES
    assert {entry.model_type for entry in ENTRIES} == types - set(UNBUILDABLE)
    assert set(UNBUILDABLE) <= types and all(UNBUILDABLE.values())


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry.name)
def test_what_is_allowed_is_right_and_the_rest_is_refused(entry):
    for window in ({}, {"window": WIDE})[: 1 + limited(entry)]:
        found = outcome(entry, **window)
        refusal = found.check.refusal
        if refusal is not None:
            assert re.fullmatch(r"the model \S.{20,700}", refusal), refusal
            assert not found.check.shares_prompts and found.check.sampler is None
            continue
        assert found.differences and found.check.sampler is not None
        # Own rounding above 1e-5 is that of attention over long products and of recurrences; faults are above 1e-2.
        assert found.rounding < 2e-4
        limit = max(CLOSE, ROUNDINGS * found.rounding)
        assert {name: off for name, off in found.differences.items() if not off <= limit} == {}
        assert found.ahead <= limit
        assert found.gradient < 1e-3
        # A fault would show: distributions are far from uniform, and the order of tokens matters.
        assert found.entropy < 0.85 * math.log(VOCABULARY)
        assert found.order > 0.01


@pytest.mark.parametrize("name", ["mistral", "gemma2", "gpt_neo", "llama4_text"])
def test_windows_that_rows_pass_matter(name):
    entry = next(entry for entry in ENTRIES if entry.name == name)
    narrow, wide = outcome(entry).reference, outcome(entry, WIDE).reference
    assert float((narrow - wide).abs().max()) > 0.1


def test_the_reference_sees_what_is_wrong():
    """Ways that the check does not allow, taken all the same, are off by whole nats."""
    rows = Rows.draw()
    bert = build(Entry("bert"))
    with evaluating(bert), torch.no_grad():
        got = forward_log_probs(bert, rows.batch(), temperature=TEMPERATURE).log_probs
        assert rows.furthest(got, rows.reference(bert)) > 1.0
    whisper = build(Entry("whisper"))
    with evaluating(whisper):
        assert sampled(GENERATE, whisper, rows) > 1.0


def test_the_table_says_what_was_found():
    assert FILE.read_text() == text(), "write it again with: .venv/bin/python -m tests.architectures.table"
