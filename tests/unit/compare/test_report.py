"""Tables, figures and files of a comparison, from records with invented numbers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from r2vpo.compare.analysis import load_results
from r2vpo.compare.cells import Plan
from r2vpo.compare.drawings import drawings
from r2vpo.compare.report import build_comparison_report
from r2vpo.compare.store import Store
from r2vpo.compare.tables import Table, percent, points, ratio, tables
from r2vpo.intervals import Interval
from tests.unit.compare.helpers import EXPERIMENT, curve, experiment, full_store, plan, record

LAGS = {"name": "staleness", "key": "rollout.lag", "values": [0, 1, 5]}


def tables_of(made: Plan, store: Store) -> dict[str, Table]:
    return {table.title: table for table in tables(load_results(made, store))}


def row(table: Table, *names: str) -> dict[str, str]:
    (found,) = [cells for cells in table.rows if tuple(cells[: len(names)]) == names]
    return dict(zip(table.columns, found, strict=True))


def test_the_result_says_what_the_records_say(tmp_path: Path) -> None:
    made = plan()
    result = tables_of(made, full_store(made, tmp_path))["Result"]
    clip, ours = row(result, "Clipping | plain"), row(result, "ours")
    assert (clip["seeds"], clip["tuned to"], clip["time per run"]) == ("3", "0.001", "40 s")
    # seeds 10, 11, 12 end at 0.6 less 0.01, 0.02 and 0; hard problems at half of that; three seeds have no interval
    assert "There are no intervals, because there are fewer than 5 seeds." in result.note
    assert clip["final accuracy, %"] == "59.0"
    assert clip["on hard, %"] == "29.5"
    assert ours["final accuracy, %"] == "89.0"
    # 0.2, their middle and the end: the mean height is (0.2 + end) / 2
    assert ours["area, %"] == "54.5"
    assert (ours["rollouts to 60 %"], ours["reached"]) == ("64", "3 of 3")
    assert (clip["rollouts to 60 %"], clip["reached"]) == ("above 64", "1 of 3")
    assert clip["collapsed"] == "0 of 3"


def test_measures_against_the_start_and_steps_in_place_of_rollouts(tmp_path: Path) -> None:
    base = {"name": "base", "data": {"source": "habit"}, "reward": {"name": "exact"}}
    changes = {"recipe": base, "tuning": None, "seeds": {"first": 10, "count": 5}}
    made = plan(experiment(**changes, preferences=True, over="steps"))
    store = Store(tmp_path / "small")
    for number, cell in enumerate(made.results({})):
        diverged = "nan" if cell.method == "ours" and cell.seed < 13 else None
        measures = {"win_rate": 0.5 + number / 100, "displacement": -number / 10, "kl": number / 10, "kl_tokens": 8}
        kept = {"preferences": None if diverged else measures}
        store.add(cell, record(cell, [0.2, 0.4, 0.7], diverged=diverged) | kept)
    result = tables_of(made, store)["Result"]
    clip, ours = row(result, "Clipping | plain"), row(result, "ours")
    assert clip["win rate over the start, %"] == "54.0 (50.0 to 58.0)", "numbers 0, 2, 4, 6, 8"
    assert clip["chosen answers, nats"] == "-0.400 (-0.800 to +0.000)"
    assert clip["KL to the start, nats"] == "0.400 (0.000 to 0.800)"
    assert ours["win rate over the start, %"] == "0.0 (0.0 to 59.0)", "three of five diverged"
    assert ours["chosen answers, nats"] == "-∞ (-∞ to -0.700)" and ours["KL to the start, nats"] == "∞ (0.700 to ∞)"
    assert (clip["optimizer steps to 60 %"], clip["reached"]) == ("2 (2 to 2)", "5 of 5")
    page = build_comparison_report(made, tmp_path)[1].read_text(encoding="utf-8")
    assert "- optimizer steps per run: " in page and "Accuracy against optimizer steps" in page
    assert "figures/accuracy-steps.png" in page and "rollouts" not in page


def test_methods_are_compared_with_the_baseline_seed_by_seed(tmp_path: Path) -> None:
    made = plan()
    table = tables_of(made, full_store(made, tmp_path))["Against Clipping | plain"]
    ours = row(table, "ours")
    assert [cells[0] for cells in table.rows] == ["ours"]
    assert ours["final accuracy, points"] == "+30.0"
    assert ours["on hard, points"] == "+15.0"
    assert ours["area, points"] == "+15.0"
    assert (ours["P(better area)"], ours["seeds won"]) == ("1.00", "3 of 3")
    assert ours["ratio of rollouts"] == "0.00", "two of three seeds of the baseline never arrive"


def test_five_seeds_have_intervals(tmp_path: Path) -> None:
    made = plan(experiment(seeds={"first": 10, "count": 5}, tuning=None))
    store = Store(tmp_path / "small")
    for cell in made.results({}):
        end = 0.6 + 0.3 * (cell.method == "ours") + 0.01 * (cell.seed - 10)
        store.add(cell, record(cell, [0.2, end]))
    found = tables_of(made, store)
    assert "In brackets: 95 % intervals of the median over seeds. " in found["Result"].note
    assert row(found["Result"], "ours")["final accuracy, %"] == "92.0 (90.0 to 94.0)"
    ours = row(found["Against Clipping | plain"], "ours")
    assert ours["final accuracy, points"] == "+30.0 (+30.0 to +30.0)", "the seeds' own differences cancel"
    assert ours["ratio of rollouts"] == "1.00 (1.00 to 1.00)"


def test_only_seeds_that_both_have_are_compared(tmp_path: Path) -> None:
    made = plan(experiment(tuning=None))
    store = Store(tmp_path / "small")
    for cell in made.results({}):
        if (cell.method, cell.seed) != ("clip", 11):
            store.add(cell, record(cell, curve(cell)))
    found = tables_of(made, store)
    assert row(found["Result"], "Clipping | plain")["seeds"] == "2"
    assert row(found["Against Clipping | plain"], "ours")["seeds"] == "2"
    assert "Tuning" not in found


def test_several_baselines(tmp_path: Path) -> None:
    made = plan(experiment(baseline=["clip", "ours"]))
    found = tables_of(made, full_store(made, tmp_path))
    assert row(found["Against ours"], "Clipping | plain")["area, points"] == "-15.0"
    assert "Against Clipping | plain" in found


def test_the_tuning_table_shows_every_try(tmp_path: Path) -> None:
    made = plan()
    table = tables_of(made, full_store(made, tmp_path))["Tuning"]
    assert "seeds 1, 2" in table.note and "every tuned method has 2 tries" in table.note
    ours = row(table, "ours")
    # ends 0.79 and 0.78, then 0.89 and 0.88
    assert (ours["tuned key"], ours["try 1"][:8], ours["try 2"][:7]) == ("trainer.learning_rate", "0.0001: ", "0.001: ")
    areas = [float(ours[column].split(": ")[1]) for column in ("try 1", "try 2")]
    assert areas == pytest.approx([49.25, 54.25], abs=0.051)
    assert (ours["chosen"], ours[""]) == ("0.001", "at the edge of the grid")


def test_an_axis_is_compared_with_its_first_value(tmp_path: Path) -> None:
    made = plan(experiment(settings=LAGS, tuning=None))
    store = Store(tmp_path / "small")
    for cell in made.results({}):
        end = 0.8 - 0.05 * cell.setting * (cell.method == "clip") + 0.01 * (cell.seed - 10)
        store.add(cell, record(cell, [0.2, end]))
    found = tables_of(made, store)
    assert row(found["Result"], "ours", "5")["final accuracy, %"] == "81.0"
    table = found["Against staleness 0"]
    assert row(table, "Clipping | plain", "5")["final accuracy, points"] == "-25.0"
    assert row(table, "ours", "5")["final accuracy, points"] == "+0.0"
    keys = [drawing.key for drawing in drawings(load_results(made, store))]
    assert keys == [
        "axis-final", "axis-area", "axis-collapse", "accuracy-rollouts-0", "rollouts-to-target-0",
        "accuracy-rollouts-1", "rollouts-to-target-1", "accuracy-rollouts-2", "rollouts-to-target-2", "collapse",
    ]  # fmt: skip
    build_comparison_report(made, tmp_path)


def test_an_axis_of_words_has_no_curves(tmp_path: Path) -> None:
    words = {"name": "level", "key": "objective.level", "values": ["token", "response"]}
    made = plan(experiment(settings=words, tuning=None))
    store = Store(tmp_path / "small")
    for cell in made.results({}):
        store.add(cell, record(cell, curve(cell)))
    keys = [drawing.key for drawing in drawings(load_results(made, store))]
    assert not [key for key in keys if key.startswith("axis")] and "accuracy-rollouts-1" in keys


def test_collapses_and_failures_are_reported(tmp_path: Path) -> None:
    made = plan(experiment(tuning=None))
    store = Store(tmp_path / "small")
    first, second, third, *_ = made.results({})
    store.add(first, record(first, [0.2, 0.9, 0.1]))
    store.add(second, record(second, [0.2, 0.9, 0.8], diverged="the weights have diverged"))
    store.add(third, {"status": "failed", "reason": "no room"})
    found = tables_of(made, store)
    assert row(found["Result"], "Clipping | plain")["collapsed"] == "1 of 1"
    assert row(found["Result"], "ours")["collapsed"] == "1 of 1"
    assert found["Failed cells"].rows == [["result: clip seed 11", "no room"]]


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (percent(Interval(0.962, 0.95, 0.971, 4)), "96.2 (95.0 to 97.1)"),
        (percent(Interval(0.962, None, None, 4)), "96.2"),
        (points(Interval(0.012, -0.003, 0.025, 4)), "+1.2 (-0.3 to +2.5)"),
        (ratio(Interval(0.46, 0.3812, float("inf"), 4)), "0.46 (0.38 to ∞)"),
        (ratio(Interval(float("nan"), 0.0, float("inf"), 4)), "? (0.00 to ∞)"),
    ],
)
def test_how_numbers_are_formatted(shown: str, expected: str) -> None:
    assert shown == expected


def test_the_page_needs_nothing_else_and_escapes_what_records_say(tmp_path: Path) -> None:
    made = plan()
    full_store(made, tmp_path)
    page, text = build_comparison_report(made, tmp_path)
    html = page.read_text()
    assert not re.findall(r"<(?:script|link|iframe|img)\b", html)
    outside = [t for t in re.findall(r"(?:src|href|url)\s*[=(]\s*[\"']?([^\"')\s>]+)", html) if t[0] != "#"]
    assert outside == []
    assert "Some &lt;CPU&gt;" in html and "Some <CPU>" not in html
    assert "#010a" not in html, "every placeholder has become a colour of the page"
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    keys = [drawing.key for drawing in drawings(load_results(made, Store(tmp_path / "small")))]
    assert html.count("<svg") == len(keys)
    assert keys == [
        "accuracy-rollouts", "accuracy-seconds", "rollouts-to-target", "difficulty", "entropy", "decision-variance",
        "dual", "step-scale", "collapse",
    ]  # fmt: skip
    markdown = text.read_text()
    assert r"Clipping \| plain" in markdown
    for key in keys:
        picture = page.parent / "figures" / f"{key}.png"
        assert picture.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n" and f"figures/{key}.png" in markdown
    assert "commit: abcdef" in markdown and "cells: 6 of 6 finished" in markdown


def test_records_from_before_a_metric_existed_are_drawn_without_it(tmp_path: Path) -> None:
    made = plan(experiment(tuning=None))
    store = Store(tmp_path / "small")
    first, *others = made.results({})
    for cell in others:
        old = record(cell, curve(cell))
        del old["course"]["decision_variance"]
        store.add(cell, old)
    assert "decision-variance" not in [drawing.key for drawing in drawings(load_results(made, store))]
    build_comparison_report(made, tmp_path)
    store.add(first, record(first, curve(first)))
    assert "decision-variance" in [drawing.key for drawing in drawings(load_results(made, store))]
    build_comparison_report(made, tmp_path)


def test_two_machines_are_both_named(tmp_path: Path) -> None:
    made = plan(experiment(tuning=None))
    store = Store(tmp_path / "small")
    first, second = made.results({})[:2]
    store.add(first, record(first, curve(first)))
    other: dict[str, Any] = record(second, curve(second))
    store.add(second, other | {"machine": other["machine"] | {"cpu": "Another"}, "commit": None})
    text = build_comparison_report(made, tmp_path)[1].read_text()
    assert "Some <CPU>, 2 cores, 1 thread per run; Another, 2 cores" in text
    assert "commit: abcdef; unknown" in text


def test_many_methods_are_drawn_side_by_side(tmp_path: Path) -> None:
    methods = {f"m{i}": {"set": {"objective.delta": 0.01 * (i + 1)}} for i in range(9)}
    made = plan(experiment(methods=methods, baseline="m0", tuning=None))
    store = Store(tmp_path / "small")
    for cell in made.results({}):
        store.add(cell, record(cell, curve(cell)))
    few = plan(experiment(methods=methods, baseline="m0", tuning=None), methods=["m0", "m1"])
    assert all(d.wide for d in drawings(load_results(made, store)) if d.key.startswith("accuracy"))
    assert not any(d.wide for d in drawings(load_results(few, store)))
    html = build_comparison_report(made, tmp_path)[0].read_text()
    assert html.count('class="card wide"') == 7


def test_there_is_a_report_without_finished_cells(tmp_path: Path) -> None:
    page, text = build_comparison_report(plan(), tmp_path)
    assert "0 of 6 finished" in page.read_text() and "<svg" not in page.read_text()
    assert set(EXPERIMENT["methods"]) - {"clip"} <= set(re.findall(r"\w+", text.read_text())), "the tuning names them"
