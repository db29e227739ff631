"""System message, instruction and examples around a question."""

from __future__ import annotations

import pytest

from r2vpo.data import PromptRow
from r2vpo.data.prompting import build_prompt
from r2vpo.errors import UserError

ROW = PromptRow("2 + 2?", "4", "easy", "a", {"k": 1})
SHOTS = [PromptRow("1 + 1?", "2"), PromptRow("head:\n", "x", metadata={"solution": "    body"})]


def built(row: PromptRow = ROW, **options: object) -> object:
    return build_prompt(row, **({"system_prompt": None, "instruction": None, "examples": []} | options)).prompt


def test_a_text() -> None:
    assert build_prompt(ROW, system_prompt=None, instruction=None, examples=[]) == ROW
    assert built(instruction="Q: {question} Use \\boxed{}.") == "Q: 2 + 2? Use \\boxed{}."
    assert built(PromptRow("{question} {x}", "4"), instruction="Q: {question}") == "Q: {question} {x}"
    assert built(examples=SHOTS) == "1 + 1? 2\n\nhead:\n    body\n\n2 + 2?"


def test_a_system_message_makes_a_chat() -> None:
    assert built(system_prompt="Be short.", instruction="Q: {question}", examples=SHOTS[:1]) == [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": "Q: 1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Q: 2 + 2?"},
    ]


def test_a_chat_keeps_its_own_messages() -> None:
    own = [{"role": "system", "content": "S"}, {"role": "user", "content": "2 + 2?"}]
    row = PromptRow(own, "4")
    shot = PromptRow([{"role": "system", "content": "S"}, {"role": "user", "content": "1 + 1?"}], "2")
    assert built(row, instruction="Q: {question}", examples=[shot]) == [
        own[0],
        {"role": "user", "content": "Q: 1 + 1?"},
        {"role": "assistant", "content": "2"},
        {"role": "user", "content": "Q: 2 + 2?"},
    ]
    assert row.prompt == own and own[1]["content"] == "2 + 2?", "the row is as it was"
    with pytest.raises(UserError, match="already has a system message"):
        built(row, system_prompt="T")
