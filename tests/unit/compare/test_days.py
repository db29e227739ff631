"""The record of several days, and the store that a day finds."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from r2vpo.compare.days import joined, run_days
from r2vpo.compare.runs import read_run
from r2vpo.config.recipe import Recipe
from r2vpo.config.run_directory import RunDirectory
from tests.unit.compare.helpers import RECIPE, experiment, plan, record

HABIT = {"source": "habit", "format": "sum", "difficulties": ["one carry", "two carries"]}
DAYS: list[dict[str, Any]] = [{"seed": 1}, {"seed": 1}, {"seed": 1}]


def cell(**changes: Any) -> Any:
    return plan(experiment(tuning=None, days=DAYS, **changes)).results({})[0]


def day(accuracy: list[float], **changes: Any) -> dict[str, Any]:
    return record(cell(), accuracy) | {"stored": {"stored_rows": 8.0, "stored_worth": 4.0}} | changes


def test_days_add_up() -> None:
    days = [day([0.2, 0.6]), day([0.4, 0.8], wall_seconds=20.0), day([0.5, 0.9])]
    whole = joined(days, cell().recipes)
    run = read_run(whole | {"method": "ours", "setting": None, "seed": 10})
    assert run.accuracy.tolist() == [0.2, 0.6, 0.4, 0.8, 0.5, 0.9]
    assert run.spent.tolist() == [0, 64, 64, 128, 128, 192] and run.seconds.tolist() == [0, 2, 2, 4, 4, 6]
    assert run.course["round"].tolist() == list(range(12)) and run.course["rollouts"].tolist()[-1] == 192
    assert (whole["optimizer_steps"], whole["wall_seconds"], whole["seconds_training"]) == (24, 100.0, 60.0)
    assert whole["days"] == [{"budget": 64, "stored_rows": 8.0, "stored_worth": 4.0}] * 3
    assert "stored" not in whole


def test_a_day_by_itself() -> None:
    whole = joined([day([0.2, 0.6]), day([0.4, 0.8, 0.7]), day([0.9, 0.3])], cell().recipes)
    run = read_run(whole | {"method": "ours", "setting": None, "seed": 10})
    second = run.on_day(2)
    assert second.spent.tolist() == [0, 32, 64] and second.final() == 0.7
    assert [run.to_hold(0.75, number) for number in (1, 2, 3)] == [64, 32, 0], "a day that misses it counts as a whole"


def test_a_run_that_diverges_scores_nothing_on_the_days_that_are_left() -> None:
    whole = joined([day([0.2, 0.6]), day([0.4, 0.8], diverged="nan")], cell().recipes)
    run = read_run(whole | {"method": "ours", "setting": None, "seed": 10})
    assert run.days is not None and run.days.tolist() == [1, 1, 2, 2, 2, 2, 3, 3]
    assert run.accuracy.tolist() == [0.2, 0.6, 0.4, 0.8, 0, 0, 0, 0]
    assert run.spent.tolist()[-4:] == [
        128,
        129,
        129,
        193,
    ]
    assert whole["days"][2] == {"budget": 64, "stored_rows": 0.0, "stored_worth": 0.0}
    assert run.to_hold(0.5, 3) == 64


def test_habit_is_measured_on_the_difficulties_of_the_day() -> None:
    recipe = Recipe.model_validate(RECIPE | {"data": HABIT, "reward": {"name": "exact"}})
    parts = {"no carry": 1.0, "one carry": 0.5, "two carries": 0.1}
    one = day([0.2, 0.6])
    for found in one["evaluations"]:
        found["by_difficulty"] = parts
    (first, _) = joined([one], [recipe])["evaluations"]
    assert first["accuracy"] == pytest.approx(0.3) and first["by_difficulty"] == parts


def test_labels_that_not_all_days_have_are_left_out() -> None:
    one, other = day([0.2, 0.6]), day([0.4, 0.8])
    for found in other["evaluations"]:
        found["by_difficulty"] = {"easy": 1.0, "new": 0.5}
    whole = joined([one, other], cell().recipes)
    assert {name for found in whole["evaluations"] for name in found["by_difficulty"]} == {"easy"}


def test_a_day_that_begins_again_finds_the_store_as_it_was(tmp_path: Path) -> None:
    recipes = cell(set={"replay.store": "rollouts.db", "replay.from": {"ratio": 0.5}}).recipes
    seen: list[tuple[Any, ...]] = []

    def run(recipe: Recipe, folder: Path, before_new: Any) -> tuple[RunDirectory, Any]:
        """Writes a row for its day into the store, as a day that is begun and one that is begun again."""
        for attempt in range(2):
            before_new()
            with closing(sqlite3.connect(str(recipe.replay.store))) as store, store:
                store.execute("CREATE TABLE IF NOT EXISTS days (name)")
                known = [name for (name,) in store.execute("SELECT name FROM days")]
                store.execute("INSERT INTO days VALUES (?)", (f"{folder.name} {attempt}",))
        seen.append((known, recipe.replay.from_ is not None, recipe.model.name))
        (folder / "checkpoints" / "checkpoint-8").mkdir(parents=True)
        (folder / "checkpoints" / "checkpoint-8" / "trainer_state.json").touch()
        return RunDirectory(folder), day([0.2, 0.6])

    run_days(recipes, tmp_path, run)
    models = [recipes[0].model.name, *(str(tmp_path / f"day_{n}/checkpoints/checkpoint-8") for n in (1, 2))]
    stored = [[], ["day_1 1"], ["day_1 1", "day_2 1"]]
    assert seen == list(zip(stored, [False, True, True], models, strict=True))
