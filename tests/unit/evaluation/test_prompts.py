"""How a model is given a suite's problems: as texts or as chats, and within its context."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.data import PromptRow
from r2vpo.errors import UserError
from r2vpo.evaluation.prompts import prompts_for
from r2vpo.evaluation.schema import load_suite
from tests.integration.evaluation import write_suite
from tests.tiny import tiny_model, tiny_tokenizer

ROWS = [PromptRow("1+2=", "3"), PromptRow("10+20+30=", "60")]
CHATS = [PromptRow([{"role": "user", "content": "1+2="}], "3")]


def suite(folder: Path, *overrides: str):
    text = (
        "name: s\ndata: {source: reasoning_gym, mixture: [{family: chain_sum, difficulty: a}]}\nreward: {name: exact}\n"
    )
    return load_suite(write_suite(folder, text), ["sampling.max_new_tokens=8", *overrides])


def tokenizer(template: bool):
    made = tiny_tokenizer()
    made.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}" if template else None
    return made


FORMS = [("auto", True, True), ("auto", False, False), ("chat", True, True), ("text", True, False)]


@pytest.mark.parametrize(("form", "template", "chat"), FORMS)
def test_the_form(tmp_path: Path, form: str, template: bool, chat: bool) -> None:
    rows, _ = prompts_for(ROWS, suite(tmp_path, f"sampling.format={form}"), tokenizer(template), tiny_model(), [1])
    expected = [[{"role": "user", "content": row.prompt}] if chat else row.prompt for row in ROWS]
    assert [row.prompt for row in rows] == expected
    assert [row.answer for row in rows] == ["3", "60"]


@pytest.mark.parametrize(
    ("rows", "form", "template", "message"),
    [
        (ROWS, "chat", False, "has no chat template"),
        (CHATS, "auto", False, "has no chat template"),
        (CHATS, "text", False, "has no chat template"),
        (CHATS, "text", True, "the prompts are chats: set sampling.format=chat"),
    ],
)
def test_what_the_model_cannot_be_given(tmp_path: Path, rows, form: str, template: bool, message: str) -> None:
    with pytest.raises(UserError, match=message):
        prompts_for(rows, suite(tmp_path, f"sampling.format={form}"), tokenizer(template), tiny_model(), [1])


def test_prompts_and_completions_have_to_fit(tmp_path: Path) -> None:
    asked = suite(tmp_path, "sampling.max_new_tokens=120", "sampling.format=text")
    with pytest.raises(
        UserError, match=r"after problem \d of 9 tokens, .* the 128 positions .*: lower it to at most 119"
    ):
        prompts_for(ROWS, asked, tokenizer(False), tiny_model(), [1])
