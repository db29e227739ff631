"""`r2vpo compare` with days: runs that follow each other, with and without the rollouts of the days before."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from r2vpo.compare.cells import Plan, base_recipe
from r2vpo.compare.schema import Experiment
from r2vpo.compare.worker import run_cell
from tests.integration.cli import RECIPE, ROWS, command, records

MIXTURE = yaml.safe_load(RECIPE)["data"]["mixture"]
EXPERIMENT: dict[str, Any] = {
    "name": "two_days",
    "recipe": yaml.safe_load(RECIPE.replace("1e-3", "1.0e-3")),
    "rounds": 2,
    "seeds": {"first": 20, "count": 1},
    "target": 0.5,
    "baseline": "thrown_away",
    "days": [{"data.mixture": MIXTURE[:1]}, {"data.mixture": MIXTURE}],
    "methods": {
        "thrown_away": {},
        "kept": {"set": {"replay.store": "rollouts.db", "replay.from": {"ratio": 0.5}}},
    },
}
pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_core")]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("days")
    (folder / "two_days.yaml").write_text(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    done = command("compare", str(folder / "two_days.yaml"), "--out", str(folder / "out"), "--jobs", "1")
    assert (done.code, done.err) == (0, "")
    return folder / "out" / "two_days"


def without_times(evaluations: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [one | {"seconds": 0.0} for one in evaluations]


def test_each_day_begins_where_the_last_one_ended(finished: Path) -> None:
    thrown, kept = records(finished / "results.jsonl")
    for record in (thrown, kept):
        found = [(one["day"], one["rollouts"]) for one in record["evaluations"]]
        assert found == [(1, 0), (1, ROWS), (1, 2 * ROWS), (2, 2 * ROWS), (2, 3 * ROWS), (2, 4 * ROWS)]
        assert record["optimizer_steps"] == 16 and record["rollouts_generated"] == 4 * ROWS
        assert record["course"]["round"] == [0, 1, 2, 3]
    same = [without_times(record["evaluations"][:4]) for record in (thrown, kept)]
    assert same[0] == same[1], "only what is drawn makes them different"
    assert thrown["days"] == [{"budget": 2 * ROWS, "stored_rows": 0, "stored_worth": 0}] * 2
    first, second = kept["days"]
    assert first["stored_rows"] == 0 < second["stored_worth"] <= second["stored_rows"] <= ROWS
    assert not list((finished / "cells").iterdir())


def test_the_report_has_the_days(finished: Path) -> None:
    text = (finished / "report.md").read_text()
    assert "## Over all days" in text and "## By day" in text and "| kept | 2 |" in text
    assert "rollouts to 50 %" in text.split("## By day")[1] and "rollouts to 50 %" not in text.split("## Result")[1]


def test_a_day_that_has_to_begin_again_ends_as_it_would_have(tmp_path: Path) -> None:
    """Its run was killed before its first checkpoint, when rollouts of it were in the store already."""
    made = Experiment.model_validate(EXPERIMENT)
    (cell,) = (one for one in Plan(made, base_recipe(made.recipe, "x"), source="x").results({}) if one.method == "kept")
    first = run_cell(cell.recipes, tmp_path)
    again = run_cell(cell.recipes, tmp_path)
    assert again["evaluations"] == first["evaluations"], "finished days are not run again"
    (run,) = (tmp_path / "day_2").iterdir()
    (run / "summary.json").unlink()
    shutil.rmtree(run / "checkpoints")
    third = run_cell(cell.recipes, tmp_path)
    assert without_times(third["evaluations"]) == without_times(first["evaluations"])
    assert third["days"] == first["days"]
