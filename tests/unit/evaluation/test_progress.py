"""The progress of an evaluation: about ten plain lines without a terminal, a bar with it."""

import io

from rich.console import Console

from r2vpo.evaluation import Answered, Completion
from r2vpo.evaluation.progress import EvaluationProgress


def answered(right: int, of: int) -> list[Answered]:
    return [
        Answered(n, "q", "a", "all", "made", Completion("t", None, 0.0, n < right, 1, True, 0.0), []) for n in range(of)
    ]


def test_about_ten_plain_lines_where_there_is_no_terminal() -> None:
    out = io.StringIO()
    console = Console(file=out, force_terminal=False, width=40)
    with EvaluationProgress(console) as progress:
        progress.begin(100, answered(10, 20), what="made, model")
        for _ in range(80):
            progress.advance(answered(1, 1))
    lines = out.getvalue().splitlines()
    assert len(lines) == 8, "a line longer than the console stays one"
    assert lines[0].startswith("made, model   30 of 100 problems  accuracy 66.7 %  0 s left")
    assert lines[-1] == "made, model  100 of 100 problems  accuracy 90.0 %  took 0 s"


def test_a_terminal_shows_a_bar() -> None:
    out = io.StringIO()
    with EvaluationProgress(Console(file=out, force_terminal=True, width=120)) as progress:
        progress.begin(10, [], what="made")
        assert progress.state() == "starting"
        progress.advance(answered(2, 5))
    assert "made, done  5/10" in out.getvalue() and "accuracy 40.0 %" in out.getvalue()
    assert out.getvalue().endswith("\x1b[?25h"), "the cursor is shown again"
