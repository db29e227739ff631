"""Distribute cells to workers and store their results; the work can be stopped and continued at any time."""

import queue
import shutil
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from r2vpo.compare.cells import Cell, folder_of
from r2vpo.compare.pool import Message, Worker, cores
from r2vpo.compare.progress import CompareProgress
from r2vpo.compare.store import Store
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
        self.store, self.display = store, display
        self.jobs = jobs
        self.threads = max(cores() // jobs, 1)
        self._inbox: queue.Queue[tuple[Worker, Message | None]] = queue.Queue()
        self._workers: list[Worker] = []
        self._idle: list[Worker] = []
        self._busy: dict[Worker, tuple[Cell, _Steps]] = {}
        self._cells: Sequence[Cell] = ()
        self._waiting: deque[Cell] = deque()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for worker in self._workers:
            worker.stop()

    def run(self, cells: Sequence[Cell]) -> None:
        """Run the cells in order; if an equal run exists, its record is only copied."""
        self.store.adopt(cells)
        self._cells = cells
        self._waiting = deque({cell.key: cell for cell in cells if self.store.finished(cell) is None}.values())
        while self._waiting or self._busy:
            while self._waiting and len(self._busy) < self.jobs:
                self._hand_out(self._waiting.popleft())
            self._refresh()
            try:
                worker, message = self._inbox.get(timeout=_LOOK)
            except queue.Empty:
                continue
            self._hear(worker, message)

    def _refresh(self) -> None:
        running = {cell.key: (cell, steps.done()) for cell, steps in self._busy.values()}
        self.display.refresh(running, list(self._waiting), self.jobs)

    def _hand_out(self, cell: Cell) -> None:
        worker = self._idle.pop() if self._idle else self._start()
        trainer = cell.recipe.trainer.model_copy(update={"threads": self.threads})
        recipe = cell.recipe.model_copy(update={"trainer": trainer})
        self._busy[worker] = (cell, _Steps())
        worker.send({"recipe": recipe.model_dump(mode="json"), "folder": str(folder_of(self.store.folder, cell))})

    def _start(self) -> Worker:
        self.store.folder.mkdir(parents=True, exist_ok=True)
        number = min(set(range(1, self.jobs + 1)) - {worker.number for worker in self._workers})
        worker = Worker(number, threads=self.threads, folder=self.store.folder, inbox=self._inbox)
        self._workers.append(worker)
        return worker

    def _hear(self, worker: Worker, message: Message | None) -> None:
        if message is not None and message["event"] == "run":
            self._busy[worker][1].file = Path(message["path"]) / "metrics.jsonl"
            return
        cell, _ = self._busy.pop(worker, (None, None))
        self._refresh()
        if message is None:
            reason = worker.last_words()
            self._retire(worker)
            if cell is not None:
                self._failed(cell, reason)
            return
        assert cell is not None, "an answer without a task"
        # after an unexpected error the libraries may be in any state
        if message.get("unexpected"):
            self._retire(worker)
        else:
            self._idle.append(worker)
        if message["event"] == "failed":
            self._failed(cell, message["reason"])
        else:
            self._finished(cell, message["record"])

    def _retire(self, worker: Worker) -> None:
        worker.stop()
        self._workers = [other for other in self._workers if other is not worker]
        self._idle = [other for other in self._idle if other is not worker]

    def _finished(self, cell: Cell, record: Record) -> None:
        self.store.add(cell, record)
        self.store.adopt(self._cells)
        shutil.rmtree(folder_of(self.store.folder, cell), ignore_errors=True)
        self.display.finished(cell, record, done=len(self.store.records(self._cells)))

    def _failed(self, cell: Cell, reason: str) -> None:
        self.store.add(cell, {"status": "failed", "reason": reason})
        self.display.failed(cell, reason)


class _Steps:
    """Counter of the optimizer steps that a running cell has recorded, read from its growing file."""

    def __init__(self) -> None:
        self.file: Path | None = None
        self._offset = self._count = 0

    def done(self) -> int:
        """Return the steps so far."""
        if self.file is not None:
            try:
                with open(self.file, "rb") as file:
                    file.seek(self._offset)
                    new = file.read()
            except OSError:
                return self._count
            self._offset += len(new)
            self._count += new.count(b"\n")
        return self._count
