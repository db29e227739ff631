"""The held-out problems alone are those that are held out in training."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.data import DatasetOptions, HabitOptions, MixtureComponent, ReasoningGymOptions, load_data, load_held_out
from tests.unit.data.writing import sums, write


@pytest.mark.parametrize("options", [{}, {"few_shot": 2}, {"held_out_size": None, "held_out_path": "b.jsonl"}])
def test_of_a_data_set(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, Any]) -> None:
    monkeypatch.chdir(tmp_path)
    write(tmp_path / "a.jsonl", sums(20))
    write(tmp_path / "b.jsonl", sums(30)[20:])
    if "held_out_path" in options:
        options = options | {"held_out_path": (options["held_out_path"],)}
    options = DatasetOptions(path=["a.jsonl"], instruction="Q: {question}", **({"held_out_size": 6} | options))
    found = load_held_out(options, seed=4)
    assert found == load_data(options, seed=4).held_out
    assert len(found) == (10 if options.held_out_path else 6)


def test_a_data_set_may_have_no_training_problem(tmp_path: Path) -> None:
    path = str(write(tmp_path / "a.jsonl", sums(9)))
    found = load_held_out(DatasetOptions(path=[path], held_out_path=(path,), held_out_size=None))
    assert [row.prompt for row in found] == [row["prompt"] for row in sums(9)]


def test_of_made_problems() -> None:
    small = {"min_terms": 2, "max_terms": 2, "min_digits": 1, "max_digits": 1}
    mixture = (MixtureComponent(family="chain_sum", params=small, question="{expression} ="),)
    options = ReasoningGymOptions(mixture=mixture, held_out_size=12, train_size=7)
    assert load_held_out(options, seed=5) == load_data(options, seed=5).held_out
    habit = HabitOptions(held_out_size=12)
    assert load_held_out(habit, seed=5) == load_data(habit, seed=5).held_out
