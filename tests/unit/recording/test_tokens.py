"""Ids of another tokenizer are noticed; what servers do to a text is not taken for that."""

from __future__ import annotations

import pytest

from r2vpo.recording.answers import Answer
from r2vpo.recording.tokens import TextCheck
from tests.bpe import bpe_tokenizer

TOKENIZER = bpe_tokenizer("gpt-2")
TEXT = " the answer is 42"
IDS = TOKENIZER.encode(TEXT)


def problem(ids: list[int], text: str | None, *, prompt: list[int] | None = None, skip: bool = True) -> str | None:
    answer = Answer(prompt or [1], ids, [-1.0] * len(ids), None, text, None, None, True)
    found = TextCheck(TOKENIZER).problem(answer, skip_special_tokens=skip)
    return None if found is None else found.detail


@pytest.mark.parametrize(
    ("ids", "text"),
    [
        (IDS, TEXT),
        (IDS, TEXT.strip()),  # a server that strips, or a tokenizer that adds a space
        (IDS, TEXT[:-3]),  # cut at a stop text
        (IDS, TEXT[4:]),  # thoughts taken out of the front
        (IDS, None),
        (IDS, ""),  # a call of a tool
        ([*IDS, TOKENIZER.eos_token_id], TEXT),
        (TOKENIZER.encode("é€")[:-1], "é"),  # the last character is not complete
    ],
)
def test_what_a_server_makes_of_the_ids_is_recognised(ids: list[int], text: str | None) -> None:
    assert problem(ids, text) is None


def test_special_tokens_count_if_the_server_kept_them() -> None:
    ids, text = [*IDS, TOKENIZER.eos_token_id], TEXT + TOKENIZER.eos_token
    assert problem(ids, text, skip=False) is None and problem(ids, text) is not None


def test_another_tokenizer_is_noticed() -> None:
    shifted = [(number + 1) % len(TOKENIZER) for number in IDS]
    assert "is not ' the answer is 42'" in (problem(shifted, TEXT) or "")
    size = len(TOKENIZER)
    assert problem([size], None) == problem(IDS, TEXT, prompt=[size]) == f"token {size}, and the tokenizer has {size}"
