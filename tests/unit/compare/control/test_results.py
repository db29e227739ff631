"""Final returns, scores, and the tables that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from r2vpo.compare.control.cells import ControlCell
from r2vpo.compare.control.comparison import build_control_report
from r2vpo.compare.control.results import ControlResults, ControlRun, load
from r2vpo.compare.control.tables import control_tables
from r2vpo.compare.store import Store
from tests.unit.compare.control.helpers import EXPERIMENT, filled, plan, record


def rising(cell: ControlCell) -> list[float]:
    """Both methods begin at -100; PPO ends at 0, ours at 100, a little more with a higher seed."""
    end = (0.0 if cell.method == "ppo" else 100.0) + cell.seed - 10
    return [-100.0, *[end] * 9]


def results(folder: Path, returns: Any = rising, **changes: Any) -> ControlResults:
    made = plan(**changes)
    return load(made, filled(folder, made, returns))


def rows(found: ControlResults, title: str) -> dict[str, dict[str, str]]:
    (table,) = [table for table in control_tables(found) if table.title == title]
    return {row[0]: dict(zip(table.columns, row, strict=True)) for row in table.rows}


def test_the_final_return_is_that_of_the_last_tenth() -> None:
    cell = plan().cells()[0]
    run = ControlRun.read(record(cell, [0.0] * 18 + [2.0, 4.0]))
    assert run.final() == 3.0 and run.best() == 4.0 and run.time_to(2.0) == run.steps[18]
    assert ControlRun.read(record(cell, [0.0, 5.0], diverged="nan")).final() == -np.inf


def test_a_score_is_a_share_of_the_way_from_the_beginning_to_the_best_method(tmp_path: Path) -> None:
    found = results(tmp_path)
    assert found.floors == {"pendulum": -100.0, "car": -100.0}
    assert found.ceilings == {"pendulum": 102.0, "car": 100.5}
    assert found.score("pendulum", 1.0) == pytest.approx(0.5) and found.score("pendulum", 102.0) == 1.0
    assert found.score("pendulum", -np.inf) == 0.0 and found.score("pendulum", -1e9) == -1.0
    assert found.scores("ppo", kind="sparse").keys() == {"car"}


def test_over_all_tasks(tmp_path: Path) -> None:
    table = rows(results(tmp_path), "Over all tasks")
    assert table["PPO"]["IQM"] == "0.50" and table["PPO"]["against PPO"] == "–"
    assert table["ours"]["against PPO"] == "+0.50" and table["ours"]["P(better)"] == "1.00"
    assert table["ours"]["tasks better, worse"] == "1, 0 of 2", "two seeds give no interval"
    assert table["ours"]["collapsed"] == "0 of 7" and table["ours"]["runs"] == "7"


def test_by_task_and_steps(tmp_path: Path) -> None:
    found = results(tmp_path)
    finals, steps = rows(found, "Final return by task"), rows(found, "Steps to a return")
    assert finals["Pendulum"]["PPO"] == "2.0 (0.0 to 4.0)" and finals["car"]["ours"] == "100"
    assert steps["Pendulum"]["ours"] == "1.00 (0.00 to 1.00)", "PPO reaches its own median on three of five seeds"


def test_a_run_that_falls_has_collapsed(tmp_path: Path) -> None:
    def falling(cell: ControlCell) -> list[float]:
        return [-100.0, 100.0, *[-80.0] * 8] if cell.method == "ours" and cell.rate == 10 else [-100.0, *[100.0] * 9]

    methods = {name: spec | {"rates": [1.0, 10.0]} for name, spec in EXPERIMENT["methods"].items()}
    found = results(tmp_path, falling, methods=methods)
    table = rows(found, "At multiples of the learning rate")
    assert table["ours"]["collapsed, x 1"] == "0 of 7" and table["ours"]["collapsed, x 10"] == "7 of 7"
    assert table["PPO"]["IQM, rate x 10"] == "1.00" and table["ours"]["IQM, rate x 10"] == "0.10"


def test_the_report(tmp_path: Path) -> None:
    made = plan()
    filled(tmp_path, made, rising)
    page, text = build_control_report(made, tmp_path)
    written = text.read_text(encoding="utf-8")
    assert "- cells: 14 of 14 finished" in written and "## Over all tasks" in written
    assert page.stat().st_size > 10_000 and (tmp_path / "small" / "figures" / "returns.png").exists()


def test_a_run_without_an_episode_is_not_a_result(tmp_path: Path) -> None:
    """It has neither diverged nor a return: it is listed, and does not count."""
    found = results(tmp_path, lambda cell: [] if (cell.method, cell.seed) == ("ours", 12) else rising(cell))
    assert "diverged" not in str(control_tables(found))
    assert rows(found, "Over all tasks")["ours"]["runs"] == "6"
    (table,) = [table for table in control_tables(found) if "pendulum ours seed 12" in str(table.rows)]
    assert "no episode ended within its 512 steps" in str(table.rows)


def test_without_the_baseline_nothing_is_compared_with_it(tmp_path: Path) -> None:
    made = plan()
    filled(tmp_path, made, rising)
    found = load(plan(methods=["ours"]), Store(tmp_path / made.experiment.name))
    row = rows(found, "Over all tasks")["ours"]
    assert row["P(better)"] == row["against PPO"] == row["tasks better, worse"] == "–"
    assert "Steps to a return" not in [table.title for table in control_tables(found)]


def test_rates_are_compared_only_where_a_finished_method_has_several(tmp_path: Path) -> None:
    methods = EXPERIMENT["methods"] | {"ours": EXPERIMENT["methods"]["ours"] | {"rates": [1.0, 10.0]}}
    made = plan(methods=methods)
    filled(tmp_path, made, rising)
    for kept, shown in ((["ours"], True), (["ppo"], False)):
        part = plan(methods=methods)
        part.methods = kept
        tables = control_tables(load(part, Store(tmp_path / made.experiment.name)))
        assert ("At multiples of the learning rate" in [table.title for table in tables]) == shown


def test_without_another_method_nothing_is_compared_with_the_baseline(tmp_path: Path) -> None:
    made = plan()
    filled(tmp_path, made, rising)
    found = load(plan(methods=["ppo"]), Store(tmp_path / made.experiment.name))
    assert "Steps to a return" not in [table.title for table in control_tables(found)]


def test_no_steps_are_counted_to_the_return_of_a_baseline_that_has_diverged(tmp_path: Path) -> None:
    made, lost = plan(), "the weights have diverged"
    store = Store(tmp_path / made.experiment.name)
    for cell in made.cells():  # half of the baseline's runs on car, and two of five on pendulum
        diverged = cell.method == "ppo" and (cell.task_name, cell.seed) in {
            ("car", 10), ("pendulum", 10), ("pendulum", 11),
        }  # fmt: skip
        store.add(cell, record(cell, rising(cell), diverged=lost if diverged else None))
    steps = rows(load(made, store), "Steps to a return")
    assert steps["car"]["ours"] == "–" and steps["Pendulum"]["ours"].startswith("1.00")


def test_the_report_of_a_part_is_that_of_the_whole(tmp_path: Path) -> None:
    made = plan()
    filled(tmp_path, made, rising)
    part = plan(methods=["ours"], tasks=["car"])
    whole = load(part.whole(), Store(tmp_path / made.experiment.name))
    assert (whole.tasks, whole.methods) == (["pendulum", "car"], ["ppo", "ours"]) and part.tasks == ["car"]
