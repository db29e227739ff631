"""A pool of child processes that score items, each of which can be killed and replaced."""

from __future__ import annotations

import contextlib
import logging
import os
import selectors
import signal
import subprocess
import sys
import threading
import weakref
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.errors import UserError
from r2vpo.rewards.child import Child

logger = logging.getLogger(__name__)

BATCH = 16
STARTS = 3
END_SECONDS = 1.0


@dataclass(frozen=True)
class Outcome:
    """The result of an item.

    Attributes:
        score: the number that the function returned, or 0 if there is a reason.
        reason: None, or why there is no score: `time`, `memory`, `crash`, `error` for an exception, or the reason that
            the function gives with `NoScore`.
        detail: the exception, or how the worker ended.
    """

    score: float
    reason: str | None = None
    detail: str = ""


class ScoringPool:
    """Scorer of items in child processes, with limits on the time and memory of each item.

    If an item takes too long, its worker's process group is killed with SIGKILL, a fresh worker takes over, and the
    other items are scored as if the item had not been there. The limit applies to the worker's CPU time, so that a busy
    machine costs no scores; an item that waits without computing is ended after sixty times the limit in elapsed time.
    Workers are started when first needed, outlive a call, and end with this process. They can be used from any thread;
    one call runs at a time.

    Args:
        function: `module:function`, a plain function from the parts of an item to a number; the module must not import
            torch if workers are to start fast.
        workers: number of child processes.
        seconds_per_item: limit for one item.
        memory_bytes: limit for the address space of a worker, which then cannot start processes; None for a function
            that starts processes and limits them itself. These must end with the worker's process group, or on their
            own.

    Raises:
        ValueError: a limit is not positive.
        UserError: this is Windows, where no process can wait for several others' pipes.
    """

    def __init__(
        self, function: str, *, workers: int = 2, seconds_per_item: float = 1.0, memory_bytes: int | None = 2**30
    ) -> None:
        if workers < 1 or seconds_per_item <= 0 or (memory_bytes is not None and memory_bytes <= 0):
            raise ValueError(
                f"workers = {workers}, seconds_per_item = {seconds_per_item}, memory_bytes = {memory_bytes}: all three "
                "must be positive"
            )
        if sys.platform == "win32":
            raise UserError(
                "this reward scores in child processes with limits, which needs Linux or macOS: use another reward, or "
                "train in the Windows Subsystem for Linux"
            )
        self.function, self.workers = function, workers
        self.seconds_per_item, self.memory_bytes = seconds_per_item, memory_bytes
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._alive: list[Child] = []
        self._failed_starts = 0
        self._finalizer = weakref.finalize(self, _end, self._alive, self._owner)

    def score(self, items: Sequence[Sequence[Any]], places: Sequence[int] | None = None) -> list[Outcome]:
        """Score items and return one outcome for each, in order.

        Args:
            items: one sequence of the function's arguments for each item, of types that JSON supports.
            places: how the log refers to each item; by default its position, from 0.

        Raises:
            RuntimeError: a worker cannot load the function.
        """
        with self._lock:
            if self._owner != os.getpid():  # after a fork the workers belong to the other process
                self._begin()
            try:
                return _Job(self, items, places or range(len(items)), self._alive).run()
            except BaseException:
                # Results of this call must not be taken for results of the next one.
                _end(self._alive, self._owner)
                raise

    def close(self) -> None:
        """End the workers; the next call starts new ones."""
        with self._lock:
            _end(self._alive, self._owner)

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [worker.process.pid for worker in self._alive]

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Job:
    """One call: items that are waiting, items that are being scored, and outcomes."""

    def __init__(
        self, pool: ScoringPool, items: Sequence[Sequence[Any]], places: Sequence[int], alive: list[Child]
    ) -> None:
        self.pool, self.items, self.places, self.alive = pool, items, places, alive
        self.waiting = deque(range(len(items)))
        self.outcomes: dict[int, Outcome] = {}
        self.suspects: set[int] = set()

    def run(self) -> list[Outcome]:
        while len(self.outcomes) < len(self.items):
            self._hand_out()
            with selectors.DefaultSelector() as selector:
                for worker in self.alive:
                    assert worker.process.stdout is not None
                    selector.register(worker.process.stdout, selectors.EVENT_READ, worker)
                heard = [key.data for key, _ in selector.select(timeout=min(0.05, self.pool.seconds_per_item / 4))]
            for worker in heard:
                self._listen(worker)
            for worker in [worker for worker in self.alive if worker not in heard]:
                if worker.overdue(self.pool.seconds_per_item):
                    self._drop(worker, "time" if worker.ready else None)
        return [self.outcomes[index] for index in range(len(self.items))]

    def _hand_out(self) -> None:
        wanted = min(self.pool.workers, len(self.items) - len(self.outcomes))
        while len(self.alive) < wanted:
            self.alive.append(Child(self.pool.function, self.pool.seconds_per_item, self.pool.memory_bytes))
        for worker in list(self.alive):
            if not worker.items and worker.process.poll() is not None:
                self._drop(worker, None)  # it ended while it was idle
            elif worker.ready and not worker.items and self.waiting:
                # Short at the end, so that no worker has a queue while another is idle.
                size = max(1, min(BATCH, len(self.waiting) // (2 * self.pool.workers)))
                indices = [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]
                try:
                    worker.send(indices, self.items)
                except BrokenPipeError:
                    self._drop(worker, None)

    def _listen(self, worker: Child) -> None:
        try:
            for message in worker.messages():
                if "failed" in message:
                    raise RuntimeError(f"a scoring worker cannot load {self.pool.function}: {message['failed']}")
                if "ready" in message:
                    worker.ready, self.pool._failed_starts = True, 0
                    continue
                if not worker.items:  # a result without an item
                    raise EOFError
                self._settle(worker.items.popleft(), Outcome(**message))
                worker.restart_clock()
                if message["reason"] == "memory":  # the remaining memory may be too little for the next item
                    self._drop(worker, None)
                    return
        except EOFError:
            self._drop(worker, "ended")

    def _drop(self, worker: Child, reason: str | None) -> None:
        """End a worker; its current item is settled if there is a reason, and the others return to the queue."""
        self.alive.remove(worker)
        detail = "it took too long"
        ended = False
        if reason == "ended":
            with contextlib.suppress(subprocess.TimeoutExpired):  # alive, but sent something other than a message
                worker.process.wait(END_SECONDS)
                ended = True
        status = worker.kill()
        if reason == "ended":
            reason = {-signal.SIGXCPU: "time", -signal.SIGKILL: "memory"}.get(status, "crash") if ended else "crash"
            detail = f"the worker ended with status {status}"
        if reason == "time":
            detail = f"more than {self.pool.seconds_per_item:g} s"
        if not worker.ready:
            self.pool._failed_starts += 1
            if self.pool._failed_starts == STARTS:
                raise RuntimeError(f"scoring workers for {self.pool.function} end before they are ready ({detail})")
        elif reason is not None and worker.items:
            index = worker.items.popleft()
            if reason == "time" or index in self.suspects:
                self._settle(index, Outcome(0.0, reason, detail))
            else:  # something else may have ended the worker: an item is blamed only if it ends a second one
                self.suspects.add(index)
                self.waiting.appendleft(index)
        self.waiting.extendleft(reversed(worker.items))

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        if outcome.reason is not None:
            log_zero(self.pool.function, self.places[index], self.items[index], outcome.reason)


def log_zero(name: str, index: int, item: Any, reason: str) -> None:
    """Log that an item has no score, with an abbreviated text of it."""
    text = " | ".join(str(part)[:100] for part in item)
    logger.warning("%s: item %d scores 0, reason %s: %r", name, index, reason, text)


def _end(alive: list[Child], owner: int) -> None:
    if os.getpid() == owner:
        for worker in alive:
            worker.kill()
        alive.clear()
