"""Records: finished cells are found again, also under another name and by another experiment."""

from __future__ import annotations

import json
from pathlib import Path

from r2vpo.compare.store import Store
from tests.unit.compare.helpers import curve, experiment, full_store, plan, record, tuned_store

TUNED = {"clip": 1e-3, "ours": 1e-4}


def test_a_finished_cell_is_found_again(tmp_path: Path) -> None:
    first, second = plan().results(TUNED)[:2]
    store = Store(tmp_path / "small")
    store.add(first, record(first, curve(first)))
    again = Store(tmp_path / "small")
    assert again.finished(first)["method"] == "clip" and again.finished(second) is None
    (line,) = (tmp_path / "small" / "results.jsonl").read_text().splitlines()
    written = json.loads(line)
    assert list(written)[:4] == ["cell", "method", "setting", "seed"]
    assert (written["cell"], written["seed"], written["evaluations"][-1]["rollouts"]) == (first.key, 10, 64)


def test_a_failed_cell_is_unfinished_and_its_reason_is_dropped_when_it_finishes(tmp_path: Path) -> None:
    cell = plan().results(TUNED)[0]
    store = Store(tmp_path / "small")
    store.add(cell, {"status": "failed", "reason": "no room"})
    for known in (store, Store(tmp_path / "small")):
        assert known.finished(cell) is None and known.failure(cell) == "no room"
    store.add(cell, record(cell, curve(cell)))
    for known in (store, Store(tmp_path / "small")):
        assert known.finished(cell) is not None and known.failure(cell) is None
        assert len(known.records([cell])) == 1


def test_a_neighbours_run_is_copied_under_our_own_names(tmp_path: Path) -> None:
    full_store(plan(), tmp_path)
    renamed = experiment(name="other", methods={"clip": {}, "mine": {}}, baseline="mine", tuning=None)
    cells = plan(renamed).results({})
    same = plan(experiment(name="other", methods={"mine": {}}, baseline="mine")).results({"mine": 1e-3})
    store = Store(tmp_path / "other")
    assert [store.finished(cell) is not None for cell in cells] == [False] * 6
    assert [store.finished(cell)["method"] for cell in same] == ["ours"] * 3
    assert [r["method"] for r in store.records(same)] == ["mine"] * 3, "known before it is written down"
    assert not (tmp_path / "other").exists()
    store.adopt([*cells, *same])
    store.adopt(same)
    lines = (tmp_path / "other" / "results.jsonl").read_text().splitlines()
    assert [json.loads(line)["method"] for line in lines] == ["mine"] * 3, "each once"


def test_a_neighbours_runs_do_not_count_in_our_time_estimate(tmp_path: Path) -> None:
    full_store(plan(), tmp_path)
    store = Store(tmp_path / "other")
    assert store.own_finished() == []
    cell = plan().results(TUNED)[0]
    store.adopt([cell])
    assert [found["cell"] for found in store.own_finished()] == [cell.key]


def test_a_neighbours_failure_is_not_ours(tmp_path: Path) -> None:
    cell = plan().results(TUNED)[0]
    Store(tmp_path / "small").add(cell, {"status": "failed", "reason": "no room"})
    assert Store(tmp_path / "other").failure(cell) is None


def test_records_of_other_settings_are_kept(tmp_path: Path) -> None:
    store = tuned_store(plan(), tmp_path)
    changed = plan(experiment(set={"objective.delta": 0.08}))
    assert store.records(plan().tuning()) and store.records(changed.tuning()) == []


def test_a_line_that_was_cut_off_by_a_crash_is_not_a_record(tmp_path: Path) -> None:
    first, second = plan().results(TUNED)[:2]
    store = Store(tmp_path / "small")
    store.add(first, record(first, curve(first)))
    with open(tmp_path / "small" / "results.jsonl", "a") as file:
        file.write('{"cell": "')
    again = Store(tmp_path / "small")
    assert len(again.own_finished()) == 1
    again.add(second, record(second, curve(second)))
    assert len(Store(tmp_path / "small").own_finished()) == 2
