"""Progress display for an evaluation: a bar in a terminal, plain lines in a file or a pipe."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from r2vpo.training.numbers import duration, percent

_LINES = 10


class SuiteProgress:
    """Progress of an evaluation. Context manager; restores the terminal on exit, including on Ctrl-C.

    Args:
        total: number of problems.
        done: number of problems answered before.
        solved: number of those solved greedily.
        console: where to show it; a bar if it is a terminal, else about ten plain lines.
        what: text that says what is answered, and by whom.
    """

    def __init__(self, total: int, done: int, solved: int, *, console: Console, what: str) -> None:
        self.total, self.done, self.solved, self.console, self.what = total, done, solved, console, what
        self._first, self._started = done, time.monotonic()
        self._said = done * _LINES // total
        self._bar: Progress | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._bar = Progress(
                TextColumn("{task.description}"),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("{task.fields[state]}"),
                TimeElapsedColumn(),
                console=self.console,
            )
            self._bar.add_task(self.what, total=self.total, completed=self.done, state="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, problems: int, solved: int) -> None:
        """Show that a batch is finished.

        Args:
            problems: number of problems in the batch.
            solved: number of those solved greedily.
        """
        self.done, self.solved = self.done + problems, self.solved + solved
        state = f"accuracy {percent(self.solved / self.done)}  {self.left()}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=self.done, state=state)
        elif self.done * _LINES // self.total > self._said:
            self._said = self.done * _LINES // self.total
            line = f"{self.what}  {self.done:>{len(str(self.total))}} of {self.total} problems  {state}"
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def left(self) -> str:
        """Return the time that the rest will take at the pace of this session."""
        if self.done == self.total:
            return f"took {duration(time.monotonic() - self._started)}"
        seconds = (time.monotonic() - self._started) / (self.done - self._first) * (self.total - self.done)
        return f"{duration(seconds)} left"
