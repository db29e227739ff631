"""Regret computed by hand, and the page that shows it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from r2vpo.compare.regret import over_tasks, task_regrets
from r2vpo.compare.regret_report import build_regret_report
from r2vpo.compare.store import Store
from r2vpo.config.numbers import NOTHING
from tests.unit.compare.helpers import record
from tests.unit.compare.test_tasks import TASKS, fill, tasks_plan

# Final accuracy by method and seed. The accuracy starts at 0, so the area is half of it.
ENDS = {"ours": [0.5, 0.7, 0.6], "clip": [0.6, 0.6, 0.9], "cispo": [0.8, 0.2, 0.2]}


def filled(folder: Path, task: str) -> None:
    made = tasks_plan(folder)
    plan = made.plan(task)
    store = Store(made.out / plan.experiment.name)
    for cell in [*plan.tuning(), *plan.results(dict.fromkeys(plan.tunes, 1e-4))]:
        store.add(cell, record(cell, [0.0, ENDS[cell.method][cell.seed % 10 % 3]]))


def test_the_best_tuned_method_has_the_largest_mean(tmp_path: Path) -> None:
    filled(tmp_path, "large")
    found = task_regrets(tasks_plan(tmp_path).results()["large"])
    assert found.best == "clip" and found.best_area == pytest.approx(0.35)
    np.testing.assert_allclose(found.by_method["ours"].points, [5, -5, 15])
    assert found.by_method["ours"].mean == pytest.approx(5) and found.by_method["ours"].median.value == pytest.approx(5)
    assert found.by_method["ours"].median.low is None, "three seeds have no interval"
    np.testing.assert_allclose(found.by_method["clip"].points, 0)


def test_a_method_with_fewer_seeds_is_not_the_best(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    plan = made.plan("large")
    store = Store(made.out / plan.experiment.name)
    for cell in [*plan.tuning(), *plan.results(dict.fromkeys(plan.tunes, 1e-4))]:
        # CISPO has one seed, which is better than all seeds of the others.
        if cell.kind == "tuning" or cell.method != "cispo" or cell.seed == 10:
            store.add(cell, record(cell, [0.0, 1.0 if cell.method == "cispo" else 0.5]))
    found = task_regrets(made.results()["large"])
    assert found.best == "clip" and (found.compared, found.tuned) == (1, 2)
    np.testing.assert_allclose(found.by_method["cispo"].points, [-25])


def test_the_default_may_have_more_seeds_than_the_tuned_methods(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    plan = made.plan("large")
    store = Store(made.out / plan.experiment.name)
    for cell in [*plan.tuning(), *plan.results(dict.fromkeys(plan.tunes, 1e-4))]:
        if cell.kind == "tuning" or cell.method == "ours" or cell.seed == 10:
            store.add(cell, record(cell, [0.0, ENDS[cell.method][cell.seed % 10 % 3]]))
    found = task_regrets(made.results()["large"])
    assert found.best == "cispo" and found.by_method["ours"].runs == 1
    np.testing.assert_allclose(found.by_method["ours"].points, [15])


def test_nothing_is_known_without_a_tuned_method(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    assert task_regrets(made.results()["large"]).best is None
    page, text = build_regret_report(made)
    assert page.exists() and "## Regret" not in text.read_text()


def test_the_mean_over_tasks_needs_every_task(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    filled(tmp_path, "large")
    fill(made, "steep")
    regrets = {task: task_regrets(found) for task, found in made.results().items()}
    assert regrets["small"].best is None, "not finished, and left out"
    means = [regrets[task].by_method["ours"].median.value for task in ("large", "steep")]
    assert over_tasks(regrets, "ours") == pytest.approx(np.mean(means))
    assert over_tasks(regrets, "cispo") is None, "it does not run on one of them"


def test_the_page_has_a_column_per_task_and_a_bar_per_method(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path, TASKS | {"shown": ["clip_carried"]})
    for task in TASKS["tasks"]:
        fill(made, task)
    page, text = build_regret_report(made)
    shown = text.read_text()
    assert "| method | large rounds | small | steep | mean | collapsed |" in shown
    rows = {row.split(" | ")[0].removeprefix("| "): row for row in shown.splitlines() if row.startswith("| ")}
    # Ours runs below its best rate and still ends 0.2 above clipping, which is 0.1 of area.
    assert rows["ours"].split(" | ")[1] == "-10.0"
    assert rows["Clipping"].split(" | ")[1:4] == ["0.0", "0.0", "0.0"]
    carried = rows["Clipping, as tuned on large rounds"].split(" | ")
    assert carried[1] == rows["Clipping"].split(" | ")[1], "on large rounds it is the tuned method itself"
    assert carried[4] != NOTHING and "Clipping, as tuned" in page.read_text()
    assert list(rows).index("ours") < list(rows).index("Clipping")
    assert (page.parent / "figures" / "regret.png").stat().st_size > 1000
    assert page.read_text().count("<svg") == 1
