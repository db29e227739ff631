"""Base class of progress displays: live in a terminal, plain lines in a file or a pipe."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Self

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r2vpo.config.numbers import duration

SECONDS_BETWEEN_LINES = 30.0
"""In a file or a pipe, seconds without a line after which one says how far the work is."""

SECONDS_BETWEEN_CHANGES = 1.0
"""How often `changed` is called while the same thing is being done."""


class Display(ABC):
    """Shows progress; a context manager that restores the terminal on exit, including on Ctrl-C.

    Args:
        console: where to show it; a live display drawn by `render` if `draws_on` says so, otherwise plain lines.
        total: amount of work.
        done: amount of work already done.

    Attributes:
        now: what is being done now, such as `loading the data`, `generating` or `stopping`.
        how_far: how far that is; empty if it is not known.
        changed: called when something else is being done, and now and then meanwhile; does nothing by default.
    """

    def __init__(self, console: Console, total: int = 0, done: int = 0) -> None:
        self.console, self.total, self.done = console, total, done
        self.now, self.how_far = "starting", ""
        self.changed: Callable[[], None] = lambda: None
        self._stopping = self._ended = False
        self._ending = threading.Lock()
        self._said_at = self._changed_at = 0.0
        self._said: set[str] = set()
        self._started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        self._started = self._said_at = time.monotonic()
        if draws_on(self.console):
            self._live = Live(get_renderable=self.render, console=self.console)
            self._live.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        with self._ending:
            self._ended = True
            self.now, self.how_far = "stopped" if kind else "done", ""
            self.changed()
            if self._live is not None:
                live, self._live = self._live, None
                live.stop()

    @abstractmethod
    def render(self) -> RenderableType:
        """Return what the terminal shows now."""

    def status(self, what: str, how_far: str = "") -> None:
        """Show what is being done now, and how far it is. Once the work is being stopped, nothing else is shown.

        Without a terminal, it gets a line when it begins for the first time, and another one whenever no line was
        printed for `SECONDS_BETWEEN_LINES`.
        """
        if self._stopping:
            return
        new = what != self.now
        self.now, self.how_far = what, how_far
        if new or time.monotonic() - self._changed_at > SECONDS_BETWEEN_CHANGES:
            self._changed_at = time.monotonic()
            self.changed()
        if self._live is not None:
            if new:
                self._live.refresh()
        else:
            first = what not in self._said
            self._said.add(what)
            if first or time.monotonic() - self._said_at > SECONDS_BETWEEN_LINES:
                self.say(self.now_and_how_far())

    @contextmanager
    def during(self, what: str) -> Iterator[None]:
        """Show that something is being done as long as the block runs, and then what was done before."""
        before = self.now
        self.status(what)
        yield
        self.status(before)

    def sampled(self, what: str, rows: int, of_rows: int, tokens: int, of_tokens: int) -> None:
        """Show how far a sampler is.

        Args:
            what: what the responses are sampled for: `generating` or `evaluating`.
            rows: responses that are finished.
            of_rows: responses to be sampled.
            tokens: tokens drawn so far for each unfinished response.
            of_tokens: limit of a response, in tokens.
        """
        self.status(what, f"{rows} of {of_rows}" + (f", token {tokens} of {of_tokens}" if rows < of_rows else ""))

    def stopping(self, say: Callable[[], None]) -> None:
        """Show that the work is being stopped, unless it has ended meanwhile; called from another thread than its own.

        Args:
            say: prints a line about it, which the end of the live display does not tear apart.
        """
        with self._ending:
            if not self._ended:
                self._stopping = True
                self.now, self.how_far = "stopping", ""
                self.changed()
                if self._live is not None:
                    self._live.refresh()
            say()

    def restore(self) -> None:
        """Show the cursor again, which an interrupt at the wrong moment may have left hidden."""
        self.console.show_cursor(True)

    def now_and_how_far(self) -> str:
        """Return what is being done now, and how far that is, as one text."""
        return f"{self.now} {self.how_far}".rstrip()

    def say(self, text: str) -> None:
        """Print a permanent line, above the live display if there is one."""
        self._said_at = time.monotonic()
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
        whole = Text(f"{title} {self.of_total()}" if self.total else title, style="bold")
        bar = ProgressBar(total=max(self.total, 1), completed=self.done)
        grid.add_row(whole, bar, f"{spent}, {note}" if note else spent)
        for name, done, total, state in below:
            grid.add_row(Text(f"  {name}"), ProgressBar(total=total, completed=done), state)
        return grid


def draws_on(console: Console) -> bool:
    """Whether a console can redraw lines: a terminal, unless its name (`TERM`) is `dumb` or `unknown`."""
    return console.is_terminal and not console.is_dumb_terminal


def say(console: Console, text: str) -> None:
    """Print a line verbatim: no markup is interpreted, and the terminal wraps it."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)
