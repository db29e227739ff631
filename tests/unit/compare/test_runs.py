"""From a run's folder to its record, and from a record to numbers."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from r2vpo.compare.collect import collect, commit, course
from r2vpo.compare.runs import read_run
from tests.unit.compare.helpers import plan, record
from tests.unit.report.synthetic_run import make_run

TUNED = {"clip": 1e-3, "ours": 1e-4}


def step(number: int, round_: int, **values: object) -> dict[str, object]:
    return {"step": number, "round": round_, "rollouts_generated": 16 * (round_ + 1)} | values


def test_the_course_has_a_row_for_each_round() -> None:
    steps = [
        step(1, 0, dual=2.5, entropy=1.0, reward=0.25, step_scale=0.1, staleness_rows=[8, 0]),
        step(2, 0, dual=2.0, entropy=0.5, reward=None, step_scale=0.2, staleness_rows=[16, 0]),
        step(3, 1, dual=1.5, entropy=0.4, reward=0.5, step_scale=0.3, staleness_rows=[20, 4]),
        step(4, 1, dual=1.0, entropy=0.2, reward=0.5, step_scale=0.4, staleness_rows=[24, 24]),
        step(5, 2, dual=1.0, entropy=None, reward=None, step_scale=0.4, staleness_rows=[24, 24]),
    ]
    moved = [(0.0, 0.0), (0.3, 0.03), (0.0, 0.01), (0.2, 0.02), (None, None)]
    for record_, (per_decision, variance) in zip(steps, moved, strict=True):
        record_ |= {"decision_variance": per_decision, "ratio_variance": variance}
    assert course(steps) == {
        "round": [0, 1, 2],
        "rollouts": [16, 32, 48],
        "staleness": [0.0, 24 / 32, None],
        "decision_variance": [0.3, 0.2, None],
        "ratio_variance": [0.03, 0.02, None],
        "dual": [2.0, 1.0, 1.0],
        "step_scale": [0.2, 0.4, 0.4],
        "entropy": [0.75, pytest.approx(0.3), None],
        "reward": [0.25, 0.5, None],
    }


def test_a_folder_becomes_a_record_that_is_read_again(tmp_path: Path) -> None:
    made = make_run(tmp_path)
    found = collect(made, seconds=1.0, threads=1)
    evaluations = made.read_evaluations()
    assert [e["accuracy"] for e in found["evaluations"]] == [e["accuracy"]["value"] for e in evaluations]
    assert found["optimizer_steps"] == made.read_metrics()[-1]["step"]
    assert found["wall_seconds"] == made.read_summary()["wall_seconds"], "a resumed run counts its earlier sessions"
    assert found["recipe"] == made.recipe().model_dump(mode="json")
    assert found["machine"]["cpu"] and found["versions"]["torch"]
    run = read_run(found | {"method": "m", "setting": None, "seed": 3})
    assert run.final() == evaluations[-1]["accuracy"]["value"]
    assert run.spent.tolist() == [e["rollouts_generated"] for e in evaluations]
    assert set(run.by_difficulty) == set(evaluations[0]["by_difficulty"])


def test_the_commit_is_that_of_the_checkout() -> None:
    head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True)
    expected = head.stdout.strip()[:12] if head.returncode == 0 else None
    assert commit() in (expected, f"{expected}+")


def test_the_measures_of_a_run() -> None:
    cell = plan().results(TUNED)[0]
    run = read_run(record(cell, [0.2, 0.6, 0.8]) | {"method": "m", "setting": None, "seed": 3})
    assert run.area() == pytest.approx((0.4 + 0.7) / 2)
    assert (run.time_to(0.6), run.time_to(0.81), run.final()) == (32, float("inf"), 0.8)
    assert not run.collapsed and np.isnan(run.course["staleness"][1])


def test_a_run_that_diverged_scores_nothing_for_the_rest_of_its_budget() -> None:
    cell = plan().results(TUNED)[0]
    whole = record(cell, [0.2, 0.6, 0.8], diverged="the weights have diverged")
    run = read_run(whole | {"method": "m", "setting": None, "seed": 3})
    assert run.spent.tolist() == [0, 16, 32, 32, 64] and run.accuracy.tolist() == [0.2, 0.6, 0.8, 0.0, 0.0]
    assert run.area() == pytest.approx((0.4 * 16 + 0.7 * 16) / 64)
    assert run.collapsed and run.final() == 0.0 and run.by_difficulty["hard"][-1] == 0.0
    assert run.time_to(0.7) == 32, "it did get there"


def test_over_steps_a_curve_is_over_optimizer_steps() -> None:
    cell = plan().results(TUNED)[0]
    whole = record(cell, [0.2, 0.6, 0.8]) | {"method": "m", "setting": None, "seed": 3}
    for number, evaluation in enumerate(whole["evaluations"]):
        evaluation |= {"step": (0, 6, 8)[number], "rollouts": 0}
    run = read_run(whole, over="steps")
    assert run.spent.tolist() == [0, 6, 8] and run.time_to(0.6) == 6
    assert run.area() == pytest.approx((0.4 * 6 + 0.7 * 2) / 8)
    assert run.course["spent"].tolist() == [2, 4, 6, 8], "two steps a round"
    lost = read_run(whole | {"diverged": "nan", "evaluations": whole["evaluations"][:2]}, over="steps")
    assert lost.spent.tolist() == [0, 6, 6, 8] and lost.accuracy.tolist() == [0.2, 0.6, 0.0, 0.0]


def test_a_run_that_had_nothing_left_keeps_its_last_accuracy_to_the_end() -> None:
    cell = plan().results(TUNED)[0]
    early = record(cell, [0.2, 0.6]) | {"method": "m", "setting": None, "seed": 3, "optimizer_steps": 4}
    for evaluation, step, rollouts in zip(early["evaluations"], (0, 4), (0, 999), strict=True):
        evaluation |= {"step": step, "rollouts": rollouts}
    run = read_run(early, over="steps")
    assert run.spent.tolist() == [0, 4, 8] and run.accuracy.tolist() == [0.2, 0.6, 0.6] and not run.diverged
    # What was sampled in vain at the end is beyond the budget.
    assert read_run(early).spent.tolist() == [0, 64, 64] and read_run(early).area() == pytest.approx(0.4)


def test_accuracy_on_what_is_trained() -> None:
    cell = plan().results(TUNED)[0]
    whole = record(cell, [0.2, 0.6]) | {"method": "m", "setting": None, "seed": 3}
    assert read_run(whole, "trained").accuracy.tolist() == [0.2, 0.6], "the recipe trains on everything"
    whole["recipe"]["data"]["difficulties"] = ["hard"]
    assert read_run(whole, "trained").accuracy.tolist() == [0.1, 0.3]
    assert read_run(whole, "all").accuracy.tolist() == [0.2, 0.6]
