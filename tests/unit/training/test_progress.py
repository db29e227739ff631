"""The progress display: aligned lines without a terminal, a live one with it, and the result at the end."""

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from r2vpo.config.numbers import (
    about_intervals,
    byte_size,
    count,
    duration,
    interval,
    percent,
    points,
    significant,
)
from r2vpo.training.progress import TrainingProgress, print_result

ACCURACY = {"value": 0.48, "low": 0.42, "high": 0.54, "n": 256}


@pytest.fixture(autouse=True)
def able_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")


def console(*, terminal: bool, width: int = 130) -> tuple[Console, io.StringIO]:
    stream = io.StringIO()
    return Console(file=stream, force_terminal=terminal, width=width), stream


def record(step: int, **values: object) -> dict[str, object]:
    return {
        "step": step,
        "decision_variance": 0.31,
        "decision_variance_target": 0.4,
        "dual": 1.5,
        "entropy": 0.4,
        "tokens_per_second": 312.0,
    } | values


def test_plain_lines_come_every_few_steps_and_align() -> None:
    to, stream = console(terminal=False)
    with TrainingProgress(120, console=to, every=10) as progress:
        progress.evaluation({"accuracy": ACCURACY})
        for step in range(1, 121):
            progress.update(record(step, reward=0.5 if step == 1 else None))
        progress.evaluation({"step": 120, "accuracy": ACCURACY})
    lines = stream.getvalue().splitlines()
    assert lines[0] == "step   0/120  held-out accuracy 48.0 % (42.0 to 54.0 %)"
    assert lines[-1].startswith("step 120/120  held-out accuracy")
    steps = lines[1:-1]
    assert len(steps) == 13
    assert len({line.index("tokens/s") for line in steps}) == 1
    for part in (
        "step  10/120",
        "reward  0.500",
        "accuracy  0.480",
        "V_d  0.310 of  0.400",
        "lambda  1.500",
        " left",
    ):
        assert part in steps[1]
    assert "\x1b" not in stream.getvalue()


def test_staleness_is_that_of_the_last_step() -> None:
    to, stream = console(terminal=False)
    with TrainingProgress(2, console=to, every=1) as progress:
        progress.update(record(1, staleness_rows=[10, 0, 0]))
        progress.update(record(2, staleness_rows=[15, 0, 5]))
    first, second = stream.getvalue().splitlines()
    assert "staleness  0.0" in first
    assert "staleness  1.0" in second


@pytest.mark.parametrize(
    ("variance", "color"),
    [(0.39, 32), (1.59, 33), (1.61, 31)],
    ids=["green up to the target", "yellow up to four times it", "red above"],
)
def test_a_terminal_gets_a_live_display(variance: float, color: int) -> None:
    to, stream = console(terminal=True)
    with TrainingProgress(4, console=to) as progress:
        progress.status("evaluating")
        progress.evaluation({"accuracy": ACCURACY})
        progress.update(record(2, decision_variance=variance))
    shown = stream.getvalue()
    for part in ("done 2/4", "accuracy", "0.480", "V_d of 0.4", str(variance), "312", "left"):
        assert part in shown
    assert {n for n in (31, 32, 33) if f"\x1b[{n}m" in shown} == {color}


def test_the_terminal_is_given_back_after_an_interrupt() -> None:
    to, stream = console(terminal=True)
    with pytest.raises(KeyboardInterrupt):
        with TrainingProgress(4, console=to):
            raise KeyboardInterrupt
    assert stream.getvalue().endswith("\x1b[?25h")
    assert "stopped" in stream.getvalue()


@pytest.mark.parametrize("terminal", [False, True])
def test_the_result_names_everything(terminal: bool) -> None:
    to, stream = console(terminal=terminal)
    summary = {
        "accuracy_before": ACCURACY,
        "accuracy_after": {"value": 0.88, "low": 0.84, "high": 0.91, "n": 256},
        "rollouts_generated": 4096,
        "rollouts_reused": 3072,
        "wall_seconds": 301,
        "seconds_generating": 120.0,
        "seconds_training": 150.0,
    }
    print_result(to, summary, Path("runs/a/report.html"))
    shown = stream.getvalue()
    for part in (
        "48.0 % (42.0 to 54.0 %)",
        "88.0 % (84.0 to 91.0 %)",
        "+40.0 points on 256",
        "4,096 generated",
    ):
        assert part in shown
    for part in ("3,072 reused", "5 min 01 s", "2 min 30 s training", "runs/a/report.html"):
        assert part in shown


@pytest.mark.parametrize(
    ("counted", "said"),
    [
        ({}, None),
        ({"rollouts_written": 64}, "64 rollouts written, 0 of other runs trained on\n"),
        (
            {"rollouts_written": 64, "rollouts_of_others": 1024, "rollouts_collected": 8},
            "64 rollouts written, 1,024 of other runs trained on, 8 of samplers\n",
        ),
    ],
)
def test_what_a_run_did_with_its_store_is_a_line(counted: dict[str, int], said: str | None) -> None:
    to, stream = console(terminal=False)
    print_result(to, {"rollouts_generated": 4096, "rollouts_reused": 3072} | counted, Path("report.html"))
    shown = stream.getvalue()
    assert f"{3072 - counted.get('rollouts_of_others', 0):,} reused" in shown
    assert ("store " not in shown) if said is None else (f"{'store':<16} {said}" in shown)


@pytest.mark.parametrize(("silent", "said"), [(1, "1 round, in which no"), (2, "2 rounds, in which no")])
def test_rounds_without_a_signal_are_counted(silent: int, said: str) -> None:
    to, stream = console(terminal=False)
    print_result(to, {"rounds_without_signal": silent}, Path("report.html"))
    assert f"no signal        {said} reward differed" in stream.getvalue()


def test_a_result_without_numbers_is_no_error() -> None:
    to, stream = console(terminal=False)
    print_result(to, {}, Path("report.html"))
    assert "accuracy after   –" in stream.getvalue()


def test_numbers_for_people() -> None:
    assert [duration(s) for s in (None, 0.4, 59.6, 3599, 3600, 7620)] == [
        "–",
        "0 s",
        "1 min 00 s",
        "59 min 59 s",
        "1 h 00 min",
        "2 h 07 min",
    ]
    assert (count(12800), count(None), percent(0.482), significant(2.5e-5)) == (
        "12,800",
        "–",
        "48.2 %",
        "2.5e-05",
    )
    assert (byte_size(9.66e4), byte_size(6.4e8), byte_size(2.1e9)) == ("97 kB", "640 MB", "2.1 GB")
    assert interval({"value": 0.5, "low": None, "high": None}) == "50.0 %"
    assert interval(None) == "–"
    assert points({"value": 0.5}, {"value": 0.4}) == "-10.0 points"
    gain = {"value": 0.1, "low": -0.02, "high": 0.2}
    assert points({"value": 0.4}, {"value": 0.5}, gain) == "+10.0 points (-2.0 to +20.0)"
    assert points(None, {"value": 0.4}) == "–"


def test_intervals_that_are_not_there_are_explained() -> None:
    assert about_intervals([10, 200]) == "intervals are 95 %"
    assert about_intervals([9]) == "fewer than 10 problems carry no interval"
    assert about_intervals([9, 10]) == "intervals are 95 %; fewer than 10 problems carry no interval"
    to, stream = console(terminal=False)
    few = {"value": 0.5, "low": None, "high": None, "n": 8}
    print_result(to, {"accuracy_before": few, "accuracy_after": few}, Path("report.html"))
    assert "50.0 %\n" in stream.getvalue() and "+0.0 points on 8 held-out problems, fewer than 10" in stream.getvalue()


def test_a_resumed_run_shows_what_was_last_known() -> None:
    to, stream = console(terminal=True)
    with TrainingProgress(8, console=to) as progress:
        progress.resumed(4, [{"step": 0, "accuracy": None}, {"step": 4, "accuracy": ACCURACY}])
        progress.status("generating")
        assert progress.snapshot() | {"seconds": 0} == {
            "now": "generating",
            "how_far": "",
            "step": 4,
            "of_steps": 8,
            "seconds_left": None,
            "seconds": 0,
        }
    assert "generating 4/8" in stream.getvalue() and "0.480" in stream.getvalue()


@pytest.mark.parametrize("width", [20, 40, 60, 100])
def test_a_narrow_terminal_shows_whole_numbers_and_the_whole_result(width: int, tmp_path: Path) -> None:
    to, stream = console(terminal=True, width=width)
    with TrainingProgress(120, console=to) as progress:
        progress.evaluation({"accuracy": ACCURACY})
        progress.update(record(4, reward=0.5))
        numbers = stream.getvalue().splitlines()
    assert any("reward" in line for line in numbers) and any("0.500" in line for line in numbers)
    assert not any("…" in line for line in numbers if "reward" in line or "0.500" in line)
    print_result(to, {"accuracy_after": ACCURACY, "wall_seconds": 61.0}, tmp_path / "report.html")
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", stream.getvalue())
    assert "48.0 % (42.0 to 54.0 %)" in shown and "1 min 01 s" in shown
