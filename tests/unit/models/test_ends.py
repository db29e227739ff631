"""Which tokens end an answer of a trained model outside its training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.models.ends import own_ends
from tests.calling import chat_tokenizer
from tests.tiny import VOCABULARY, tiny_model, tiny_tokenizer

PLUS, EQUALS = VOCABULARY.index("+"), VOCABULARY.index("=")
ASKED: dict[str, Any] = {"seed": 0, "trust_remote_code": False, "chats": False}


@pytest.fixture
def base(tmp_path: Path) -> str:
    model = tiny_model()
    model.generation_config.eos_token_id = [1, EQUALS]
    model.save_pretrained(tmp_path / "base")
    return str(tmp_path / "base")


def test_a_stop_text_that_also_ends_answers_of_the_base_model_stays(base: str) -> None:
    declared = [1, EQUALS, PLUS]  # as training leaves them
    ends = own_ends(base, tiny_tokenizer(), declared=declared, stop=["=", "+"], **ASKED)
    assert sorted(ends) == [1, EQUALS]


def test_without_the_base_model_no_stop_text_is_taken_for_its_own(tmp_path: Path) -> None:
    gone = str(tmp_path / "gone")
    assert own_ends(gone, tiny_tokenizer(), declared=[1, EQUALS, PLUS], stop=["+"], **ASKED) == [1, EQUALS]


def test_a_model_trained_on_chats_ends_its_answers_as_the_template_does(base: str) -> None:
    tokenizer = chat_tokenizer()
    tokenizer.eos_token = "<|endoftext|>"  # that of a base model
    end = tokenizer.convert_tokens_to_ids("<|im_end|>")
    for chats in (False, True):
        ends = own_ends(base, tokenizer, declared=[1, end], stop=[], **(ASKED | {"chats": chats}))
        assert (end in ends) == chats
