"""Progress display for an evaluation: a bar in a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, RenderableType

from r2vpo.config.display import Display
from r2vpo.config.numbers import duration, percent
from r2vpo.evaluation.completions import Answered

_LINES = 10
ANSWERING = "answering"


class EvaluationProgress(Display):
    """Shows what an evaluation does, and how far it is.

    Args:
        console: where to show it; a bar if it is a terminal, else about ten plain lines.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(console)
        self.solved, self.what = 0, ""
        self._first = self._parts_said = 0
        self._begun = self._started

    def begin(self, total: int, done: Sequence[Answered], *, what: str) -> None:
        """Begin to answer problems.

        Args:
            total: number of problems.
            done: the problems answered before.
            what: text that says what is answered, and by whom.
        """
        self.total, self.done, self.solved, self.what = total, len(done), _solved(done), what
        self._first, self._begun, self._parts_said = self.done, time.monotonic(), self.done * _LINES // total
        self._said.add(ANSWERING)  # lines that say more follow
        self.status(ANSWERING)

    def advance(self, batch: Sequence[Answered]) -> None:
        """Show that a batch is finished."""
        self.done, self.solved = self.done + len(batch), self.solved + _solved(batch)
        if self._live is None and self.done * _LINES // self.total > self._parts_said:
            self._parts_said = self.done * _LINES // self.total
            self.say(f"{self.what}  {self.done:>{len(str(self.total))}} of {self.total} problems  {self.state()}")

    def render(self) -> RenderableType:
        """Return the live display: a bar over the problems."""
        if not self.total:
            return self.bars(self.now_and_how_far(), "")
        return self.bars(f"{self.what}, {self.now_and_how_far()}", self.state())

    def state(self) -> str:
        """The accuracy so far, and the time that the rest will take at the pace of this session."""
        if self.done == self._first:
            return "starting"
        elapsed = time.monotonic() - self._begun
        rest = duration(elapsed / (self.done - self._first) * (self.total - self.done))
        left = f"took {duration(elapsed)}" if self.done == self.total else f"{rest} left"
        return f"accuracy {percent(self.solved / self.done)}  {left}"


def _solved(problems: Sequence[Answered]) -> int:
    return sum(problem.greedy.correct for problem in problems)
