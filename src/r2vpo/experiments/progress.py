"""What a user sees while a comparison goes on, and how long it will still take."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, RenderableType

from r2vpo.experiments.cells import Cell
from r2vpo.training.display import Display
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


class CompareProgress(Display):
    """Shows a comparison's progress.

    Args:
        console: where to; a live display if it is a terminal, else a plain line for each cell.
        estimator: how long cells take.
    """

    def __init__(self, console: Console, estimator: Estimator) -> None:
        super().__init__(console)
        self.estimator = estimator
        self.failures: list[tuple[Cell, str]] = []
        self._phase = ""
        self._running: Mapping[str, tuple[Cell, int]] = {}
        self._left: float | None = None

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._running = {}
        super().__exit__(kind, *details)

    def phase(self, name: str, *, done: int, total: int) -> None:
        """Begin a part of the work: tuning, or the result."""
        self._phase, self.done, self.total = name, done, total
        self.say(f"{name}: {done} of {total} cells are finished")

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
        self.say(f"{self.of_total()}  {cell}  {what}  {duration(record['wall_seconds'])}{self._time_left()}")

    def failed(self, cell: Cell, reason: str) -> None:
        """Show that a cell failed."""
        self.failures.append((cell, reason))
        self.say(f"{self.of_total()}  {cell}  failed: {reason}")

    def render(self) -> RenderableType:
        """The live display: a bar over the cells, and a line for each that runs."""
        cells = [(str(cell), done, cell.recipe.trainer.max_steps) for cell, done in self._running.values()]
        below = [(*cell, f"step {cell[1]}/{cell[2]}" if cell[1] else "starting") for cell in cells]
        return self.bars(self._phase, f"{duration(self._left)} left", below)

    def _time_left(self) -> str:
        left = duration(self._left)
        return "" if left == NOTHING else f"  about {left} left"
