"""The text of a stored prompt, whatever special tokens are between its parts."""

from __future__ import annotations

from r2vpo.models.stored_tokenizer import decoder_of
from tests.tiny import tiny_tokenizer


def test_special_tokens_become_line_breaks() -> None:
    tokenizer = tiny_tokenizer()
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|user|>", "<|user|>.", "<|end|>"]})
    ids = tokenizer("<|user|>7+8=<|end|>1<|user|>.2")["input_ids"]
    assert "<|user|>" in tokenizer.decode(ids)
    lines = [line.replace(" ", "") for line in decoder_of(tokenizer)(ids).splitlines()]
    assert [line for line in lines if line] == ["7+8=", "1", "2"]
