"""The committed pages of docs/results are those that their files of numbers produce."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from r2vpo.compare.control.cells import ControlCell, ControlPlan
from r2vpo.compare.control.comparison import build_control_report
from r2vpo.compare.control.results import load
from r2vpo.compare.control.tables import control_tables
from r2vpo.compare.days import joined
from r2vpo.compare.runs import read_run
from r2vpo.compare.store import Store
from tests.unit.compare.control.helpers import filled
from tests.unit.compare.helpers import experiment, plan, record

ROOT = Path(__file__).parents[3]
_spec = importlib.util.spec_from_file_location("publish_comparison", ROOT / "benchmarks" / "publish_comparison.py")
assert _spec is not None and _spec.loader is not None
publish = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(publish)
CONTENTS = {content["experiment"]: content for content in publish.published()}


def test_every_page_has_its_numbers() -> None:
    assert set(CONTENTS) == {path.stem for path in publish.PAGES.glob("*.md")}


@pytest.mark.parametrize("name", CONTENTS)
def test_a_page_is_what_its_numbers_give(name: str) -> None:
    assert (publish.PAGES / f"{name}.md").read_text(encoding="utf-8") == publish.page(CONTENTS[name])


@pytest.mark.parametrize("changes", [{}, {"diverged": "nan"}])
def test_a_run_of_days_is_the_same_from_its_numbers(changes: dict[str, str]) -> None:
    made = plan(experiment(tuning=None, days=[{"seed": 1}] * 3)).results({})[0]
    days = [record(made, [0.2, 0.6]), record(made, [0.4, 0.8]) | changes]
    whole = joined([one | {"stored": {"stored_rows": 8.0, "stored_worth": 4.0}} for one in days], made.recipes)
    whole |= {"method": "ours", "setting": None, "seed": 10}
    again, run = publish.run_of(publish.compact(whole)), read_run(whole)
    assert again.days.tolist() == run.days.tolist() and again.spent.tolist() == run.spent.tolist()
    assert again.accuracy.tolist() == run.accuracy.tolist() and again.to_hold(0.5, 2) == run.to_hold(0.5, 2)
    assert {name: values.tolist() for name, values in again.by_difficulty.items()} == {
        name: values.tolist() for name, values in run.by_difficulty.items()
    }


@pytest.mark.parametrize("diverged", [None, "nan"])
def test_a_run_over_steps_with_its_measures_is_the_same_from_its_numbers(diverged: str | None) -> None:
    whole = record(plan().results({"clip": 1e-3})[0], [0.2, 0.6], diverged=diverged)
    whole |= {"method": "clip", "setting": None, "seed": 10, "preferences": None if diverged else {"kl": 0.25}}
    again, run = publish.run_of(publish.compact(whole, over="steps")), read_run(whole, over="steps")
    assert again.spent.tolist() == run.spent.tolist() == ([0, 1, 1, 8] if diverged else [0, 1])
    assert again.preference("kl") == run.preference("kl") == (np.inf if diverged else 0.25)


def test_a_comparison_on_control_tasks_is_the_same_from_its_numbers(tmp_path: Path) -> None:
    spec = publish.experiment_of({"experiment": "control_settings"})
    made = ControlPlan(spec, source="here", tasks=["hopper"], seeds=2)

    def returns(cell: ControlCell) -> list[float]:
        return [10.0, 20.0 + cell.seed + len(cell.method), 100.0 * (cell.method != "ppo")]

    filled(tmp_path, made, returns)
    build_control_report(made, tmp_path)
    content = publish.read(tmp_path / "control_settings", ["returns"])
    page = publish.page(json.loads(json.dumps(content)))
    assert "![" in page and "Over all tasks" in page
    for table in control_tables(load(made, Store(tmp_path / "control_settings"))):
        assert all(f"| {' | '.join(row)} |" in page for row in table.rows)


def test_a_page_follows_its_numbers() -> None:
    """A different accuracy changes the page."""
    content = CONTENTS["curriculum"]
    other = content | {"results": [run | {"accuracy": [0.5 for _ in run["accuracy"]]} for run in content["results"]]}
    assert publish.page(other) != publish.page(content)
