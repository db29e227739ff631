"""The base of progress displays: one true phase at every moment."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console
from rich.text import Text

from r2vpo.config import display
from r2vpo.config.display import Display


class Plain(Display):
    """Shows only the phase."""

    def render(self) -> Text:
        return Text(self.now_and_how_far())


def shown(*, terminal: bool) -> tuple[Plain, io.StringIO]:
    stream = io.StringIO()
    return Plain(Console(file=stream, force_terminal=terminal, width=100)), stream


def test_a_phase_has_one_line_and_more_if_it_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    to, stream = shown(terminal=False)
    with to:
        for token in range(3):
            to.sampled("generating", 0, 16, token, 8)
        to.status("training")
        to.status("generating")
        monkeypatch.setattr(display, "SECONDS_BETWEEN_LINES", 0.0)
        to.sampled("generating", 3, 16, 5, 8)
        to.sampled("generating", 16, 16, 8, 8)
    assert stream.getvalue().splitlines() == [
        "generating 0 of 16, token 0 of 8",
        "training",
        "generating 3 of 16, token 5 of 8",
        "generating 16 of 16",
    ]


def test_a_terminal_shows_a_new_phase_at_once() -> None:
    to, stream = shown(terminal=True)
    with to:
        for phase in ("loading", "evaluating", "training"):
            to.status(phase)
            assert phase in stream.getvalue()


@pytest.mark.parametrize("name", ["dumb", "unknown"])
def test_a_terminal_that_cannot_redraw_gets_lines(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", name)
    to, stream = shown(terminal=True)
    with to:
        to.status("loading")
        to.status("training")
        assert stream.getvalue().splitlines() == ["loading", "training"]


def test_what_was_done_before_is_shown_again() -> None:
    to, _ = shown(terminal=False)
    with to:
        to.status("training")
        with to.during("evaluating"):
            assert to.now == "evaluating"
        assert to.now == "training"


@pytest.mark.parametrize("terminal", [False, True])
def test_nothing_is_shown_over_stopping(terminal: bool) -> None:
    to, stream = shown(terminal=terminal)
    seen: list[str] = []
    to.changed = lambda: seen.append(to.now)
    with pytest.raises(KeyboardInterrupt), to:
        to.status("training")
        to.stopping(lambda: seen.append("a line"))
        to.status("saving")
        assert to.now == "stopping" and "saving" not in stream.getvalue()
        raise KeyboardInterrupt
    to.stopping(lambda: seen.append("another line"))
    assert to.now == "stopped" and seen == ["training", "stopping", "a line", "stopped", "another line"]
    assert not terminal or "stopping" in stream.getvalue()


def test_a_line_about_stopping_is_whole_before_the_display_ends() -> None:
    to, stream = shown(terminal=True)
    begun, may_end = threading.Event(), threading.Event()

    def say() -> None:
        begun.set()
        may_end.wait(5)
        to.say("stopping: a line")

    with to:
        thread = threading.Thread(target=to.stopping, args=(say,))
        thread.start()
        assert begun.wait(5)
        threading.Timer(0.2, may_end.set).start()
    thread.join()
    assert to.now == "done" and stream.getvalue().rindex("stopping: a line") < stream.getvalue().rindex("done")


def test_changes_are_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    to, _ = shown(terminal=False)
    seen: list[str] = []
    to.changed = lambda: seen.append(to.how_far)
    with to:
        for token in range(100):
            to.sampled("generating", 0, 2, token, 200)
        assert len(seen) <= 2
        monkeypatch.setattr(display, "SECONDS_BETWEEN_CHANGES", 0.0)
        to.sampled("generating", 1, 2, 100, 200)
        assert seen[-1] == "1 of 2, token 100 of 200"
