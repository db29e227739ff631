"""Base class of progress displays: live in a terminal, plain lines in a file or a pipe."""

import time
from abc import ABC, abstractmethod
from collections.abc import Iterable
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r2vpo.config.numbers import duration


class Display(ABC):
    """Shows progress; a context manager that restores the terminal on exit, including on Ctrl-C.

    Args:
        console: where to show it; a live display drawn by `render` if it is a terminal, otherwise plain lines.
        total: amount of work.
        done: amount of work already done.
    """

    def __init__(self, console: Console, total: int = 0, done: int = 0) -> None:
        self.console, self.total, self.done = console, total, done
        self._started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._started = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self.console)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        if self._live is not None:
            live, self._live = self._live, None
            live.stop()

    @abstractmethod
    def render(self) -> RenderableType:
        """Return what the terminal shows now."""

    def say(self, text: str) -> None:
        """Print a permanent line, above the live display if there is one."""
        say(self.console, text)

    def of_total(self) -> str:
        """Return ``  3/120``, padded to a constant width."""
        return f"{self.done:>{len(str(self.total))}}/{self.total}"

    def bars(self, title: str, note: str, below: Iterable[tuple[str, int, int, str]] = ()) -> Table:
        """Return a progress bar for the whole work, with further bars below it.

        Args:
            title: what is being done.
            note: text after the bar and the elapsed time.
            below: title, amount done, total and note of each further bar.
        """
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right", style="dim")
        spent = duration(time.monotonic() - self._started)
        whole = Text(f"{title} {self.of_total()}", style="bold")
        grid.add_row(whole, ProgressBar(total=max(self.total, 1), completed=self.done), f"{spent}, {note}")
        for name, done, total, state in below:
            grid.add_row(Text(f"  {name}"), ProgressBar(total=total, completed=done), state)
        return grid


def say(console: Console, text: str) -> None:
    """Print a line verbatim: no markup is interpreted, and the terminal wraps it."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
