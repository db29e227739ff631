"""Pairs whose prompt has other tokens before an answer than alone are noted, as TRL would train on them."""

from __future__ import annotations

import pytest
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from r2vpo.data import Pair, PromptRow
from r2vpo.data.pair_boundaries import LOOKED_AT, boundary_note

CHAT = [{"role": "user", "content": "a"}]
ANSWERS_DIFFER = "{% for m in messages %}{{ m.content }}{% endfor %}{% if add_generation_prompt %}{{ ' ' }}{% endif %}"
PLAIN = "{% for m in messages %}{{ m.content }}{% if m.role == 'user' %}{{ ' ' }}{% endif %}{% endfor %}"


def tokenizer(template: str = PLAIN) -> PreTrainedTokenizerFast:
    """Letters, and one token for a space with a b, as byte-level tokenizers have for a space with a word."""
    vocabulary = {"a": 0, " ": 1, "b": 2, "c": 3, " b": 4}
    backend = Tokenizer(models.BPE(vocabulary, [(" ", "b")]))
    return PreTrainedTokenizerFast(tokenizer_object=backend, chat_template=template)


def pair(prompt: object, chosen: str, rejected: str) -> PromptRow:
    return PromptRow(prompt, "", pair=Pair(chosen, rejected))  # type: ignore[arg-type]


@pytest.mark.parametrize(("chosen", "rejected"), [("b", "c"), ("c", "b")])
def test_a_space_that_becomes_part_of_an_answer(chosen: str, rejected: str) -> None:
    rows = [pair("a ", chosen, rejected), pair("a", f" {chosen}", f" {rejected}")]
    note = boundary_note(rows, tokenizer())
    assert note is not None and note.startswith("in 1 of 2 pairs the end of the prompt has other tokens")
    assert "leave out white space at the end of prompts, such as 'a '" in note
    assert boundary_note(rows[1:], tokenizer()) is None


def test_a_template_that_writes_answers_in_another_way() -> None:
    note = boundary_note([pair(CHAT, "c", "cc")], tokenizer(ANSWERS_DIFFER))
    assert note is not None and "the chat template writes a question with its answer in another way" in note
    assert boundary_note([pair(CHAT, "c", "cc")], tokenizer()) is None


def test_only_the_first_pairs_are_looked_at() -> None:
    assert boundary_note([pair("a", "b", "c")] * LOOKED_AT + [pair("a ", "b", "c")], tokenizer()) is None
