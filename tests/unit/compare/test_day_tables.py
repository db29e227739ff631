"""The tables of days, from records with invented numbers."""

from __future__ import annotations

from pathlib import Path

from r2vpo.compare.analysis import load_results
from r2vpo.compare.cells import Plan
from r2vpo.compare.day_tables import day_tables
from r2vpo.compare.days import joined
from r2vpo.compare.report import build_comparison_report
from r2vpo.compare.store import Store
from r2vpo.compare.tables import Table
from tests.unit.compare.helpers import experiment, plan, record

METHODS = {"clip": {}, "ours": {"set": {"replay.versions": 1}}}


def made(folder: Path, seeds: int = 5) -> Plan:
    """Clipping reaches 60 % at the end of each day of 64 rollouts; ours in the middle of it, except on the last day."""
    found = plan(experiment(tuning=None, days=[{"seed": 1}] * 3, seeds={"first": 10, "count": seeds}, methods=METHODS))
    store = Store(folder / "small")
    for cell in found.results({}):
        curves = [[0.2, 0.5, 0.6]] * 3 if cell.method == "clip" else [[0.2, 0.5, 0.6], [0.4, 0.7, 0.8], [0.4, 0.5, 0.5]]
        rows = [0.0, 32.0, 64.0] if cell.method == "ours" else [0.0] * 3
        days = [
            record(cell, curve) | {"stored": {"stored_rows": stored, "stored_worth": stored / 2}}
            for curve, stored in zip(curves, rows, strict=True)
        ]
        store.add(cell, joined(days, cell.recipes))
    return found


def row(table: Table, *names: str) -> dict[str, str]:
    (found,) = (cells for cells in table.rows if cells[: len(names)] == list(names))
    return dict(zip(table.columns, found, strict=True))


def test_over_all_days(tmp_path: Path) -> None:
    _, over, _ = day_tables(load_results(made(tmp_path), Store(tmp_path / "small")))
    clip, ours = row(over, "clip"), row(over, "ours")
    assert clip["accuracy at the end of a day, %"] == "60.0 (60.0 to 60.0)"
    assert ours["accuracy at the end of a day, %"] == "65.0 (65.0 to 65.0)"
    assert clip["rollouts to hold 60 %"] == "128 (128 to 128)" and clip["days held"] == "10 of 10"
    assert ours["rollouts to hold 60 %"] == "96 (96 to 96)" and ours["days held"] == "5 of 10"
    assert ours["sampling saved against clip, %"] == "+25.0 (+25.0 to +25.0)"
    assert clip["sampling saved against clip, %"] == clip["area against clip, points"] == "–"


def test_the_conclusion_in_words(tmp_path: Path) -> None:
    words = day_tables(load_results(made(tmp_path), Store(tmp_path / "small")))[0]
    said = (
        "better than clip: its area differs by +11.2 (+11.2 to +11.2) points, and the sampling saved is "
        "+25.0 (+25.0 to +25.0) %"
    )
    assert words.title == "In words" and words.rows == [["ours", said]]
    page, text = build_comparison_report(made(tmp_path / "again"), tmp_path / "again")
    assert said in text.read_text() and said in page.read_text()
    assert "On a new day, the problems are others" in text.read_text()
    few = day_tables(load_results(made(tmp_path / "few", 2), Store(tmp_path / "few" / "small")))
    assert [table.title for table in few] == ["Over all days", "By day"]


def test_by_day(tmp_path: Path) -> None:
    *_, by_day = day_tables(load_results(made(tmp_path), Store(tmp_path / "small")))
    fewer = "fewer than clip, % of the day's rollouts"
    assert [row(by_day, "ours", str(day))[fewer].split()[0] for day in (1, 2, 3)] == ["+0.0", "+50.0", "+0.0"]
    second = row(by_day, "ours", "2")
    assert second["at its beginning, %"].startswith("40.0") and second["at its end, %"].startswith("80.0")
    assert (second["stored rows per fresh row"], second["times their share"]) == ("0.50", "0.25")
    assert row(by_day, "clip", "2")["stored rows per fresh row"] == "–"


def test_the_report_counts_no_rollouts_over_several_days(tmp_path: Path) -> None:
    _, text = build_comparison_report(made(tmp_path, seeds=2), tmp_path)
    page = text.read_text()
    assert page.index("## Over all days") < page.index("## By day") < page.index("## Result")
    assert "rollouts to 60 %" not in page.split("## Result")[1] and "rollouts-to-target" not in page
