"""Tokenizers of other models, answers that nothing ends, and prompts without room are one line."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from peft import LoraConfig, get_peft_model

from r2vpo.errors import UserError
from r2vpo.models import load_tokenizer
from r2vpo.models.fit import Room, check_tokenizer, stop_ids
from tests.tiny import VOCABULARY, tiny_model, tiny_tokenizer

SIZE = len(VOCABULARY)


def said(model: object, tokenizer: object, ends: list[int | None]) -> str:
    with pytest.raises(UserError) as raised:
        check_tokenizer(model, tokenizer, ends, what="x", stop="set y")  # type: ignore[arg-type]
    assert "\n" not in str(raised.value)
    return str(raised.value)


def test_what_fits() -> None:
    for model in (tiny_model(), tiny_model(vocab_size=64), tiny_model(tie_word_embeddings=True)):
        check_tokenizer(model, tiny_tokenizer(), [1], what="x", stop="y")
    with torch.device("meta"):
        check_tokenizer(tiny_model(), tiny_tokenizer(), [1], what="x", stop="y")


def test_adapters_leave_the_rows_of_a_layer_as_they_are() -> None:
    for target in ({"target_modules": ["embed_tokens"]}, {"modules_to_save": ["embed_tokens", "lm_head"]}):
        adapted = get_peft_model(tiny_model(), LoraConfig(r=2, task_type="CAUSAL_LM", **target)).get_base_model()
        check_tokenizer(adapted, tiny_tokenizer(), [1], what="x", stop="y")
        added = tiny_tokenizer()
        added.add_tokens(["<more>"])
        assert f"beyond the model's {SIZE} embeddings" in said(adapted, added, [1])


def test_tokens_beyond_the_model() -> None:
    line = said(tiny_model(vocab_size=SIZE - 2), tiny_tokenizer(), [1])
    assert f"2 tokens beyond the model's {SIZE - 2} embeddings, up to id {SIZE - 1} (' ')" in line
    assert f"resize_token_embeddings({SIZE})" in line
    added = tiny_tokenizer()
    added.add_tokens(["<more>"])
    assert f"1 tokens beyond the model's {SIZE} embeddings, up to id {SIZE} ('<more>')" in said(
        tiny_model(), added, [1]
    )
    special = tiny_tokenizer()
    special.add_special_tokens({"pad_token": "<new pad>"})
    assert "('<new pad>')" in said(tiny_model(), special, [1])
    narrow = tiny_model()
    narrow.lm_head = torch.nn.Linear(32, SIZE - 1, bias=False)
    assert f"1 tokens beyond the model's {SIZE - 1} outputs" in said(narrow, tiny_tokenizer(), [1])
    # A special token that is only read, as an image's place is, needs no output.
    special = tiny_tokenizer()
    special.add_special_tokens({"additional_special_tokens": ["<image>"]})
    wide = tiny_model(vocab_size=SIZE + 1)
    wide.lm_head = torch.nn.Linear(32, SIZE, bias=False)
    check_tokenizer(wide, special, [1], what="x", stop="y")


def test_answers_that_nothing_ends() -> None:
    tokenizer = tiny_tokenizer()
    assert "no token ends an answer, because its tokenizer has no end-of-sequence token" in said(
        tiny_model(), tokenizer, []
    )
    assert "or set y" in said(tiny_model(), tokenizer, [None])
    assert f"the ids that would, 99, are beyond its {SIZE} outputs" in said(tiny_model(), tokenizer, [99])
    check_tokenizer(tiny_model(), tokenizer, [99, 1], what="x", stop="y")
    tokenizer.pad_token = None
    assert "has no padding token" in said(tiny_model(), tokenizer, [1])


def test_room_for_an_answer() -> None:
    room = Room(16, 6, "max_new", "leave out prompts of more than {most} tokens")
    room.check([10, 3], ["a" * 10, "abc"], "prompt")
    room.check([], [], "prompt")
    Room(None, 6, "max_new", "").check([1000], ["a"], "prompt")
    with pytest.raises(UserError) as raised:
        room.check([3, 12, 11], ["abc", [{"role": "user", "content": "hello"}], "x"], "prompt")
    assert str(raised.value) == (
        "max_new = 6 after prompt 1 of 12 tokens, 'hello', is more than the 16 positions of this model (2 of 3 are "
        "too long): lower it to at most 4, or leave out prompts of more than 10 tokens"
    )
    with pytest.raises(UserError, match=r"prompt 7 of 20 tokens, .* this model: leave out prompts of more than 10"):
        room.check([20], ["x"], "prompt", rows=[7])
    with pytest.raises(UserError, match=r"use a model that reads longer texts"):
        Room(4, 6, "max_new", "").check([2], ["x"], "prompt")
    room.check_rows([16])
    with pytest.raises(UserError, match=r"row 1 of a round has 17 tokens, .* more than the 16 positions"):
        room.check_rows([3, 17])


def test_stop_texts_are_single_tokens_beside_the_models_own() -> None:
    tokenizer = load_tokenizer("tiny/random-llama")

    def ids(declared: object, *stop: str) -> list[int]:
        return stop_ids(tokenizer, stop, SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=declared)))

    own, newline = tokenizer.eos_token_id, tokenizer.encode("\n", add_special_tokens=False)[0]
    assert ids(None) == ids(own) == [own]
    assert ids([7, own], "\n", "\n") == [7, own, newline]
    with pytest.raises(UserError, match=r"'\\n\\nQ:' is \d tokens .* shorten it"):
        ids(None, "\n\nQ:")
