"""What all displays of progress share: a live one in a terminal, plain lines in a file or a pipe."""

import time
from collections.abc import Iterable
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r2vpo.training.numbers import duration


class Display:
    """Shows progress; a context manager that restores the terminal on exit, including on Ctrl-C.

    Args:
        console: where to show it; live, as `render` draws it, if it is a terminal, else in plain lines.
        total: how much there is to do.
        done: how much of it is done already.
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

    def render(self) -> RenderableType:
        """Return what the terminal shows now."""
        raise NotImplementedError

    def say(self, text: str) -> None:
        """Print a line that stays, above the live display where there is one."""
        say(self.console, text)

    def of_total(self) -> str:
        """Return ``  3/120``, as wide for every number."""
        return f"{self.done:>{len(str(self.total))}}/{self.total}"

    def bars(self, title: str, note: str, below: Iterable[tuple[str, int, int, str]] = ()) -> Table:
        """Return a progress bar over the whole work, and others below it.

        Args:
            title: what goes on.
            note: what stands behind the bar and the time so far.
            below: title, amount done, total and note of each of the others.
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
    """Print a line as it is: nothing in it is markup, and the terminal wraps it."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
