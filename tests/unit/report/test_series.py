"""The curves: positions, derived numbers, intervals, and thinning that keeps the extremes."""

import random
from typing import Any

import pytest

from r2vpo.report.charts import CHARTS
from r2vpo.report.series import curves


def record(step: int, **values: Any) -> dict[str, Any]:
    return {"step": step, "seconds": 2.0 * step, **values}


def test_steps_of_a_round_are_spread_evenly_over_its_rollouts() -> None:
    totals = [8, 8, 16, 16, None]
    x = curves([record(step, rollouts_generated=n) for step, n in enumerate(totals, 1)], [])["steps"]["x"]
    assert x == {"step": [1, 2, 3, 4, 5], "rollouts": [4, 8, 12, 16, None], "seconds": [2, 4, 6, 8, 10]}


def test_an_evaluation_is_placed_by_the_clock_of_the_steps() -> None:
    evaluations = [
        {"step": step, "rollouts_generated": 4 * step, "seconds": 99.0, "accuracy": {"value": 0.5}} for step in (0, 2)
    ]
    found = curves([record(1), record(2)], evaluations)["evaluations"]
    assert found["x"] == {"step": [0, 2], "rollouts": [0, 8], "seconds": [0, 4]}
    assert found["curves"] == {"accuracy": {"at": [0, 1], "y": [0.5, 0.5], "low": [None, None], "high": [None, None]}}


def test_members_of_lists_and_mappings_are_curves() -> None:
    found = curves(
        [record(1, staleness_rows=[8, 0], reward_parts={"exact": 0.5, "length": None}, rollouts_generated=8)], []
    )["steps"]["curves"]
    assert found["staleness_rows.1"] == {"at": [0], "y": [0]}
    assert found["reward_parts.exact"]["y"] == [0.5]
    assert "reward_parts.length" not in found


def test_an_age_without_rows_is_a_gap() -> None:
    ages = [[0.9, 0.0], [0.8, 0.7]]
    records = [record(step, effective_sample_size_by_staleness=row) for step, row in enumerate(ages, 1)]
    found = curves(records, [])["steps"]["curves"]
    assert found["effective_sample_size_by_staleness.1"] == {"at": [1], "y": [0.7]}


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("rollout_uses", {"rollouts_generated": 8, "rollouts_reused": 3}, 11),
        ("learning_rate_applied", {"learning_rate": 2e-5, "step_scale": 0.5}, 1e-5),
        ("held_out_alignment_bounded", {"held_out_alignment": 89.5}, 1),
        ("held_out_alignment_bounded", {"held_out_alignment": -14.2}, -1),
        ("held_out_alignment_bounded", {"held_out_alignment": 0.45}, 0.45),
        ("seconds_other", {"seconds_generating": 1.0, "seconds_training": 0.25}, 0.75),
    ],
)
def test_derived_curves(name: str, given: dict[str, float], expected: float) -> None:
    assert curves([record(1, **given)], [])["steps"]["curves"][name]["y"] == [expected]
    less = dict(list(given.items())[1:])
    assert name not in curves([record(1, **less)], [])["steps"]["curves"]


def test_a_long_curve_keeps_its_extremes_its_ends_and_its_means() -> None:
    generator = random.Random(0)
    values = [generator.gauss(0, 1) for _ in range(20_000)]
    values[7_777], values[12_345] = 50.0, -60.0
    curve = curves([record(step, loss=value) for step, value in enumerate(values, 1)], [], most=1000)["steps"][
        "curves"
    ]["loss"]
    assert len(curve["at"]) <= 1002
    assert curve["at"] == sorted(set(curve["at"])) and curve["at"][0] == 0 and curve["at"][-1] == 19_999
    assert all(curve["y"][i] == float(f"{values[place]:.5g}") for i, place in enumerate(curve["at"]))
    for start in range(0, 20_000, 40):
        kept = [values[place] for place in curve["at"] if start <= place < start + 40]
        assert {min(values[start : start + 40]), max(values[start : start + 40])} <= set(kept)
    means = curve["means"]
    whole = sum(n * y for n, y in zip(means["n"], means["y"], strict=True)) / sum(means["n"])
    assert sum(means["n"]) == 20_000 and whole == pytest.approx(sum(values) / 20_000, abs=1e-4)


def test_a_curve_of_as_many_points_as_allowed_is_whole() -> None:
    found = curves([record(step, loss=step / 7) for step in range(1, 1001)], [], most=1000)["steps"]["curves"]["loss"]
    assert found["at"] == list(range(1000)) and "means" not in found


def test_keys_and_sections_of_charts() -> None:
    keys = [chart.key for chart in CHARTS]
    assert len(keys) == len(set(keys))
    sections = [chart.section for chart in CHARTS]
    assert sections == sorted(sections, key=sections.index)
