"""The progress display and the estimate of the remaining time."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from r2vpo.compare.progress import CompareProgress, Estimator
from tests.unit.compare.helpers import experiment, plan, record

TUNED = {"clip": 1e-3, "ours": 1e-4}


def test_time_is_estimated_from_the_seconds_per_step_of_a_method() -> None:
    clip, ours, *_ = plan().results(TUNED)
    estimator = Estimator([])
    assert estimator.seconds([clip]) is None
    estimator.learn(record(clip, [0.1, 0.2], seconds=16.0) | {"method": "clip"})
    assert estimator.seconds([clip, clip]) == pytest.approx(32.0)
    assert estimator.seconds([ours]) == pytest.approx(16.0), "a method that is new takes what the others take"
    estimator.learn(record(ours, [0.1, 0.2], seconds=32.0) | {"method": "ours"})
    assert estimator.seconds([clip, ours]) == pytest.approx(48.0)
    assert estimator.seconds([clip, ours], {clip.key: 6}) == pytest.approx(4.0 + 32.0)
    short = plan(experiment(rounds=1)).results(TUNED)[0]
    assert estimator.seconds([short]) == pytest.approx(4.0), "2 steps of 8"


def test_without_a_terminal_there_are_plain_lines() -> None:
    out = io.StringIO()
    clip, ours, other = plan().results(TUNED)[:3]
    with CompareProgress(Console(file=out, force_terminal=False, width=200), Estimator([])) as display:
        display.phase("result", done=0, total=3)
        display.refresh({clip.key: (clip, 2)}, [ours, other], jobs=2)
        display.finished(clip, record(clip, [0.1, 0.25], seconds=20.0), done=1)
        display.refresh({ours.key: (ours, 4)}, [other], jobs=2)
        display.finished(ours, record(ours, [0.1, 0.5], seconds=20.0, diverged="the weights"), done=2)
        display.failed(other, "no room")
    assert out.getvalue().splitlines() == [
        "result: 0 of 3 cells are finished",
        "1/3  clip seed 10  accuracy 0.250  20 s",
        "2/3  ours seed 10  diverged  20 s  about 15 s left",
        "2/3  clip seed 11  failed: no room",
    ]
    assert display.failures == [(other, "no room")]


def test_a_terminal_shows_what_runs() -> None:
    out = io.StringIO()
    clip, ours = plan().results(TUNED)[:2]
    console = Console(file=out, force_terminal=True, width=100)
    with CompareProgress(console, Estimator([record(clip, [0.1, 0.2], seconds=8.0) | {"method": "clip"}])) as display:
        display.phase("tuning", done=1, total=4)
        display.refresh({clip.key: (clip, 3), ours.key: (ours, 0)}, [], jobs=2)
        console.print(display.render())
    text = out.getvalue()
    for part in ("tuning 1/4", "clip seed 10", "step 3/8", "starting", "6 s left"):
        assert part in text, part
