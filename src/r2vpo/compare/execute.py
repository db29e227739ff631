"""Distribute cells to workers and store their results; the work can be stopped and continued at any time."""

import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from pathlib import Path
from types import TracebackType
from typing import Self

from r2vpo.compare.pool import Worker, cores
from r2vpo.compare.progress import CompareProgress
from r2vpo.compare.store import Store
from r2vpo.compare.work import Work, folder_of
from r2vpo.config.records import Record

# seconds between two checks of the running cells' progress
_LOOK = 0.5


class Executor:
    """Executor of unfinished cells; a context manager that leaves no process behind.

    Args:
        store: the store of the records.
        jobs: number of cells to run at once; each gets its share of the cores' threads.
        display: the display that shows them.
    """

    def __init__(self, store: Store, *, jobs: int, display: CompareProgress) -> None:
        self.store, self.display, self.jobs = store, display, jobs
        self.threads = max(cores() // jobs, 1)
        # Each thread only waits for a worker's answer.
        self._waiters = ThreadPoolExecutor(jobs)
        self._workers: dict[int, Worker] = {}
        self._idle = list(range(jobs, 0, -1))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers.values():
            worker.stop()
        self._waiters.shutdown()

    def run(self, cells: Sequence[Work]) -> None:
        """Run the cells in order; if an equal run exists, its record is only copied."""
        self.store.adopt(cells)
        waiting = deque({cell.key: cell for cell in cells if self.store.finished(cell) is None}.values())
        running: dict[Future[Record], tuple[Work, int]] = {}
        while waiting or running:
            while waiting and self._idle:
                cell, number = waiting.popleft(), self._idle.pop()
                running[self._hand_out(cell, number)] = cell, number
            self._show([cell for cell, _ in running.values()], waiting)
            for future in wait(running, timeout=_LOOK, return_when=FIRST_COMPLETED).done:
                cell, number = running.pop(future)
                self._idle.append(number)
                self._show([cell for cell, _ in running.values()], waiting)
                self._keep(cell, future.result(), cells)

    def _hand_out(self, cell: Work, number: int) -> Future[Record]:
        if number not in self._workers or self._workers[number].ended:
            self.store.folder.mkdir(parents=True, exist_ok=True)
            self._workers[number] = Worker(number, threads=self.threads, folder=self.store.folder)
        folder = folder_of(self.store.folder, cell)
        task = cell.task(self.threads) | {"folder": str(folder)}
        return self._waiters.submit(self._workers[number].run, task)

    def _show(self, running: Sequence[Work], waiting: Sequence[Work]) -> None:
        done = {cell.key: (cell, _steps_in(folder_of(self.store.folder, cell))) for cell in running}
        self.display.refresh(done, waiting, self.jobs)

    def _keep(self, cell: Work, record: Record, cells: Sequence[Work]) -> None:
        self.store.add(cell, record)
        if record["status"] == "failed":
            self.display.failed(cell, record["reason"])
            return
        self.store.adopt(cells)
        shutil.rmtree(folder_of(self.store.folder, cell), ignore_errors=True)
        self.display.finished(cell, record, done=len(self.store.records(cells)))


def _steps_in(folder: Path) -> int:
    """Return the number of optimizer steps that the runs in a cell's folder have recorded."""
    try:
        return sum(file.read_bytes().count(b"\n") for file in folder.glob("**/metrics.jsonl"))
    except OSError:  # a folder of an earlier call is being removed
        return 0
