"""What a user sees while a comparison goes on, and how long it will still take."""

import statistics
import time
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from r2vpo.experiments.cells import Cell
from r2vpo.training.numbers import NOTHING, duration
from r2vpo.training.records import Record


class Estimator:
    """How long cells take, from those that are finished: seconds an optimizer step, by method, else over all.

    Args:
        records: finished cells.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._rates: dict[str, list[float]] = {}
        for record in records:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Take one more finished cell into account."""
        if record.get("optimizer_steps") and record.get("wall_seconds"):
            rate = record["wall_seconds"] / record["optimizer_steps"]
            self._rates.setdefault(str(record["method"]), []).append(rate)

    def seconds(self, cells: Iterable[Cell], done: Mapping[str, int] | None = None) -> float | None:
        """Seconds that cells take one after the other, or None as long as no cell is finished.

        Args:
            cells: the cells.
            done: optimizer steps that are done already, by the cell's key.
        """
        if not self._rates:
            return None
        overall = statistics.fmean(rate for rates in self._rates.values() for rate in rates)
        total = 0.0
        for cell in cells:
            rates = self._rates.get(cell.method)
            left = cell.recipe.trainer.max_steps - (done or {}).get(cell.key, 0)
            total += max(left, 0) * (statistics.fmean(rates) if rates else overall)
        return total


class CompareProgress:
    """Shows a comparison's progress; a context manager that gives the terminal back, also on Ctrl-C.

    Args:
        console: where to; a live display if it is a terminal, else a plain line for each cell.
        estimator: how long cells take.
    """

    def __init__(self, console: Console, estimator: Estimator) -> None:
        self.console, self.estimator = console, estimator
        self.failures: list[tuple[Cell, str]] = []
        self.done = self.total = 0
        self._phase = ""
        self._running: Mapping[str, tuple[Cell, int]] = {}
        self._left: float | None = None
        self._started = time.monotonic()
        self._live: Live | None = None

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self._live = Live(get_renderable=self.render, console=self.console, refresh_per_second=2)
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._running = {}
            live, self._live = self._live, None
            live.stop()

    def phase(self, name: str, *, done: int, total: int) -> None:
        """Begin a part of the work: tuning, or the result."""
        self._phase, self.done, self.total = name, done, total
        self._print(f"{name}: {done} of {total} cells are finished")

    def refresh(self, running: Mapping[str, tuple[Cell, int]], waiting: Sequence[Cell], jobs: int) -> None:
        """Take note of what goes on.

        Args:
            running: cell and optimizer steps done, by the cell's key.
            waiting: cells that nobody runs yet.
            jobs: cells at once.
        """
        self._running = running
        steps = {key: done for key, (_, done) in running.items()}
        cells = [cell for cell, _ in running.values()]
        seconds = self.estimator.seconds([*cells, *waiting], steps)
        self._left = None if seconds is None else seconds / max(min(jobs, len(cells) + len(waiting)), 1)

    def finished(self, cell: Cell, record: Record, *, done: int) -> None:
        """Show a cell's result, and how many are finished with it."""
        self.done = done
        self.estimator.learn({**record, "method": cell.method})
        accuracy = record["evaluations"][-1]["accuracy"] if record["evaluations"] else float("nan")
        what = "diverged" if record["diverged"] else f"accuracy {accuracy:.3f}"
        self._print(f"{self._of_total()}  {cell}  {what}  {duration(record['wall_seconds'])}{self._time_left()}")

    def failed(self, cell: Cell, reason: str) -> None:
        """Show that a cell failed."""
        self.failures.append((cell, reason))
        self._print(f"{self._of_total()}  {cell}  failed: {reason}")

    def render(self) -> RenderableType:
        """The live display: a bar over the cells, and a line for each that runs."""
        grid = Table.grid(padding=(0, 1), expand=True)
        grid.add_column(no_wrap=True)
        grid.add_column(ratio=1)
        grid.add_column(no_wrap=True, justify="right")
        elapsed = duration(time.monotonic() - self._started)
        title = Text(f"{self._phase} {self._of_total()}", style="bold")
        left = Text(f"{elapsed}, {duration(self._left)} left", style="dim")
        grid.add_row(title, ProgressBar(total=max(self.total, 1), completed=self.done), left)
        for cell, done in self._running.values():
            steps = cell.recipe.trainer.max_steps
            bar = ProgressBar(total=steps, completed=done)
            grid.add_row(Text(f"  {cell}"), bar, Text(f"step {done}/{steps}" if done else "starting", style="dim"))
        return Group(grid)

    def _of_total(self) -> str:
        return f"{self.done:>{len(str(self.total))}}/{self.total}"

    def _time_left(self) -> str:
        left = duration(self._left)
        return "" if left == NOTHING else f"  about {left} left"

    def _print(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False, soft_wrap=True)
