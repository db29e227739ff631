"""Progress display for an evaluation: a bar in a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console, RenderableType

from r2vpo.config.display import Display
from r2vpo.config.numbers import duration, percent
from r2vpo.evaluation.completions import Answered

_LINES = 10


class EvaluationProgress(Display):
    """Shows how far an evaluation is.

    Args:
        total: number of problems.
        done: the problems answered before.
        console: where to show it; a bar if it is a terminal, else about ten plain lines.
        what: text that says what is answered, and by whom.
    """

    def __init__(self, total: int, done: Sequence[Answered], *, console: Console, what: str) -> None:
        super().__init__(console, total, len(done))
        self.solved, self.what = _solved(done), what
        self._first, self._said = self.done, self.done * _LINES // total

    def advance(self, batch: Sequence[Answered]) -> None:
        """Show that a batch is finished."""
        self.done, self.solved = self.done + len(batch), self.solved + _solved(batch)
        if self._live is None and self.done * _LINES // self.total > self._said:
            self._said = self.done * _LINES // self.total
            self.say(f"{self.what}  {self.done:>{len(str(self.total))}} of {self.total} problems  {self.state()}")

    def render(self) -> RenderableType:
        """The live display: a bar over the problems."""
        return self.bars(self.what, self.state())

    def state(self) -> str:
        """The accuracy so far, and the time that the rest will take at the pace of this session."""
        if self.done == self._first:
            return "starting"
        elapsed = time.monotonic() - self._started
        rest = duration(elapsed / (self.done - self._first) * (self.total - self.done))
        left = f"took {duration(elapsed)}" if self.done == self.total else f"{rest} left"
        return f"accuracy {percent(self.solved / self.done)}  {left}"


def _solved(problems: Sequence[Answered]) -> int:
    return sum(problem.greedy.correct for problem in problems)
