"""Progress display of a comparison, and the estimate of the time left."""

import statistics
from collections.abc import Iterable, Mapping, Sequence

from rich.console import Console, RenderableType

from r2vpo.compare.work import Work
from r2vpo.config.display import Display
from r2vpo.config.numbers import NOTHING, duration
from r2vpo.config.records import Record


class Estimator:
    """Estimator of cells' durations from finished ones: seconds per optimizer step, by method or else over all.

    Args:
        records: finished cells.
    """

    def __init__(self, records: Iterable[Record]) -> None:
        self._rates: dict[str, list[float]] = {}
        for record in records:
            self.learn(record)

    def learn(self, record: Record) -> None:
        """Add a finished cell to the estimate."""
        if record.get("optimizer_steps") and record.get("wall_seconds"):
            rate = record["wall_seconds"] / record["optimizer_steps"]
            self._rates.setdefault(str(record["method"]), []).append(rate)

    def seconds(self, cells: Iterable[Work], done: Mapping[str, int] | None = None) -> float | None:
        """Return the seconds that cells take one after the other, or None while no cell is finished.

        Args:
            cells: the cells.
            done: optimizer steps already done, by the cell's key.
        """
        if not self._rates:
            return None
        overall = statistics.fmean(rate for rates in self._rates.values() for rate in rates)
        total = 0.0
        for cell in cells:
            rates = self._rates.get(cell.method)
            left = cell.steps - (done or {}).get(cell.key, 0)
            total += max(left, 0) * (statistics.fmean(rates) if rates else overall)
        return total


class CompareProgress(Display):
    """Progress display of a comparison.

    Args:
        console: where to show it; a live display if it is a terminal, otherwise a plain line per cell.
        estimator: estimates how long cells take.
    """

    def __init__(self, console: Console, estimator: Estimator) -> None:
        super().__init__(console)
        self.estimator = estimator
        self.failures: list[tuple[Work, str]] = []
        self._phase = ""
        self._running: Mapping[str, tuple[Work, int]] = {}
        self._left: float | None = None

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        self._running = {}
        super().__exit__(kind, *details)

    def phase(self, name: str, *, done: int, total: int) -> None:
        """Begin a phase of the work: tuning, or the result."""
        self._phase, self.done, self.total = name, done, total
        self.say(f"{name}: {done} of {total} cells are finished")

    def refresh(self, running: Mapping[str, tuple[Work, int]], waiting: Sequence[Work], jobs: int) -> None:
        """Update the state of the cells.

        Args:
            running: cell and optimizer steps done, by the cell's key.
            waiting: cells that are not running yet.
            jobs: number of cells that run at once.
        """
        self._running = running
        steps = {key: done for key, (_, done) in running.items()}
        cells = [cell for cell, _ in running.values()]
        seconds = self.estimator.seconds([*cells, *waiting], steps)
        self._left = None if seconds is None else seconds / max(min(jobs, len(cells) + len(waiting)), 1)

    def finished(self, cell: Work, record: Record, *, done: int) -> None:
        """Show a cell's result, and the number of finished cells including it."""
        self.done = done
        self.estimator.learn({**record, "method": cell.method})
        took = duration(record["wall_seconds"])
        self.say(f"{self.of_total()}  {cell}  {cell.outcome(record)}  {took}{self._time_left()}")

    def failed(self, cell: Work, reason: str) -> None:
        """Show that a cell failed."""
        self.failures.append((cell, reason))
        self.say(f"{self.of_total()}  {cell}  failed: {reason}")

    def render(self) -> RenderableType:
        """Return the live display: a bar over the cells, and a line for each running one."""
        cells = [(str(cell), done, cell.steps) for cell, done in self._running.values()]
        below = [(*cell, f"step {cell[1]}/{cell[2]}" if cell[1] else "starting") for cell in cells]
        return self.bars(self._phase, f"{duration(self._left)} left", below)

    def _time_left(self) -> str:
        left = duration(self._left)
        return "" if left == NOTHING else f"  about {left} left"
