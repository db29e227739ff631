"""What a drafted recipe says, and how it makes room for completions in a model's positions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.planning.draft_recipe import Room, choose
from r2vpo.planning.own_data import OwnData, look_at
from tests.unit.data.writing import write


@pytest.fixture
def data(tmp_path: Path) -> OwnData:
    rows = [{"prompt": f"Question {i}?", "answer": str(i)} for i in range(30)]
    columns: dict[str, Any] = {"subset": None, "split": None, "prompt_column": None, "answer_column": None}
    return look_at(str(write(tmp_path / "own.jsonl", rows)), **columns)


def chosen(data: OwnData, lengths: list[int], limit: int) -> Any:
    return choose(data, own_reward="own:score", chat=True, answers=None, room=Room(lengths, limit))


def test_prompts_that_fit_need_no_limit(data: OwnData) -> None:
    same = choose(data, own_reward="own:score", chat=True, answers=None, room=None)
    assert same.new_tokens == 256 and same.prompt_tokens is None
    assert chosen(data, [744] * 30, 1000) == same


def test_long_prompts_are_left_out_and_what_is_left_is_divided(data: OwnData) -> None:
    found = chosen(data, [745] + [744] * 29, 1000)
    assert found.prompt_tokens == 744
    few = chosen(data, [900] * 25 + [20] * 5, 1000)
    assert (few.held_out, few.prompts) == (2, 3)  # even if no held-out problem is among the long ones


def test_completions_leave_half_of_the_positions(data: OwnData) -> None:
    found = chosen(data, [20] * 30, 100)
    assert (found.new_tokens, found.new_tokens_reason) == (50, "half of the 100 tokens that the model takes")


def test_without_short_prompts_there_is_one_line(data: OwnData) -> None:
    with pytest.raises(UserError) as caught:
        chosen(data, [745] * 29 + [300], 1000)
    assert "leave 744 for a prompt, and 29 of 30 prompts are longer, the shortest has 300: write" in str(caught.value)
