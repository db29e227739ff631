"""The held-out problems alone are those that are held out in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.data import DatasetOptions, HabitOptions, MixtureComponent, ReasoningGymOptions, load_data, load_held_out
from tests.unit.data.writing import sums, write


@pytest.mark.parametrize("options", [{}, {"few_shot": 2}, {"held_out": None, "held_out_path": "b.jsonl"}])
def test_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", sums(20))
    write(tmp_path / "b.jsonl", sums(30)[20:])
    if "held_out_path" in options:
        options = options | {"held_out_path": (options["held_out_path"],)}
    options = DatasetOptions(path=("a.jsonl",), seed=4, instruction="Q: {question}", **({"held_out": 6} | options))
    found = load_held_out(options)
    assert found == load_data(options).held_out
    assert len(found) == (10 if options.held_out_path else 6)


def test_a_data_set_may_have_no_training_problem(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", sums(9)))
    found = load_held_out(DatasetOptions(path=(path,), held_out_path=(path,), held_out=None))
    assert [row.prompt for row in found] == [row["prompt"] for row in sums(9)]


def test_of_made_problems() -> None:
    small = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    mixture = (MixtureComponent(family="chain_sum", params=small, question="{expression} ="),)
    options = ReasoningGymOptions(mixture=mixture, held_out=12, train=7, seed=5)
    assert load_held_out(options) == load_data(options).held_out
    habit = HabitOptions(held_out=12, seed=5)
    assert load_held_out(habit) == load_data(habit).held_out
