"""In which form a model is given prompts that are texts, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.data.load import load_data
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_format import answer_end, as_chats, choose_form
from r2vpo.data.rows import PromptRow
from tests.calling import chat_tokenizer
from tests.tiny import tiny_tokenizer
from tests.unit.data.writing import write

ROWS = [PromptRow("1+2=", "3"), PromptRow("10+20=", "30")]
CHATS = [PromptRow([{"role": "user", "content": "1+2="}], "3")]


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return chat_tokenizer()


def end(tokenizer: Any) -> int:
    return tokenizer.convert_tokens_to_ids("<|im_end|>")


def test_the_token_with_which_a_template_ends_an_answer(tokenizer: Any) -> None:
    assert answer_end(tokenizer) == end(tokenizer)
    assert answer_end(tiny_tokenizer()) is None
    plain = tiny_tokenizer()
    plain.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
    assert answer_end(plain) is None
    plain.chat_template = "{{ raise_exception('no') }}"
    assert answer_end(plain) is None


def test_a_chat_model_is_given_chats(tokenizer: Any) -> None:
    form = choose_form("auto", ROWS, tokenizer, [end(tokenizer)])
    assert (form.is_chat, form.format) == (True, "chat")
    assert "because this model was trained on chats (data.format=text: plain text)" in form.note


@pytest.mark.parametrize("case", ["base model", "no template", "already written"])
def test_when_auto_means_plain_text(case: str, tokenizer: Any) -> None:
    ends, rows, said = [end(tokenizer)], ROWS, ""
    if case == "base model":
        ends, said = [tokenizer.convert_tokens_to_ids("<|endoftext|>")], "'<|im_end|>', which does not end a completion"
    elif case == "no template":
        tokenizer, said = tiny_tokenizer(), "has no chat template"
    else:
        rows, said = [PromptRow("<|im_start|>user\n1+2=<|im_end|>\n", "3")], "already contain '<|im_start|>'"
    form = choose_form("auto", rows, tokenizer, ends)
    assert (form.is_chat, form.format) == (False, "text") and said in form.note
    # It is no mistake to force it then, and it needs no advice.
    assert "chat would give it" not in choose_form("text", rows, tokenizer, ends).note


def test_both_can_be_forced(tokenizer: Any) -> None:
    text = choose_form("text", ROWS, tokenizer, [end(tokenizer)])
    assert (text.is_chat, text.format) == (False, "text")
    assert "this model was trained on chats, and data.format=chat would give it one" in text.note
    chat = choose_form("chat", ROWS, tokenizer, [])
    assert (chat.is_chat, chat.format) == (True, "chat")


def test_messages_are_chats_in_any_case(tokenizer: Any) -> None:
    for wanted, format in (("auto", "chat"), ("chat", "chat"), ("text", "text")):
        form = choose_form(wanted, CHATS, tokenizer, [])
        assert (form.is_chat, form.format) == (True, format)
    assert as_chats(CHATS) == CHATS


def test_a_text_becomes_a_message_and_solved_examples_become_turns(tmp_path: Path) -> None:
    assert as_chats(ROWS)[0].prompt == [{"role": "user", "content": "1+2="}]
    path = write(tmp_path / "p.jsonl", [{"prompt": f"{i} + 1 =", "answer": i + 1} for i in range(9)])
    options = {"path": str(path), "held_out_size": 3, "few_shot": 2, "instruction": "Sum: {question}"}
    text, chat = (load_data(DatasetOptions(**options, format=format)) for format in ("auto", "chat"))
    assert text.held_out[0].prompt.count("Sum: ") == 3
    assert [message["role"] for message in chat.held_out[0].prompt] == ["user", "assistant"] * 2 + ["user"]
    assert [row.prompt for row in as_chats(text.train)] == [row.prompt for row in chat.train]
    assert [row.prompt for row in as_chats(text.held_out)] == [row.prompt for row in chat.held_out]


def test_a_system_message_needs_a_chat() -> None:
    with pytest.raises(ValueError, match="system_prompt makes every prompt a chat, and format is text: remove one"):
        DatasetOptions(path="a.jsonl", system_prompt="Be brief.", format="text")
