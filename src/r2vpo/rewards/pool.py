"""A pool of child processes that score items, each of which can be killed and replaced."""

from __future__ import annotations

import contextlib
import logging
import math
import os
import selectors
import signal
import subprocess
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2vpo.rewards.worker import LENGTH, MESSAGE_BYTES, frame, read_message

logger = logging.getLogger(__name__)

BATCH = 16
PATIENCE = 60
START_SECONDS = 300.0
STARTS = 3
END_SECONDS = 1.0
_COMMAND = "from r2vpo.rewards.worker import main; main()"


@dataclass(frozen=True)
class Outcome:
    """What became of an item.

    Attributes:
        score: what the function returned, 0 when there is a reason.
        reason: None, or why there is no score: `time`, `memory`, `crash`, `error` for an exception, or what
            the function says with `NoScore`.
        detail: the exception, or how the worker ended.
    """

    score: float
    reason: str | None = None
    detail: str = ""


class ScoringPool:
    """Score items in child processes, with limits on the time and the memory of each item.

    An item that takes too long is ended by a SIGKILL to its worker's process group, a fresh worker takes over, and
    the other items are scored as if it had not been there. The limit holds for the worker's CPU time, so that a busy
    machine takes no score away; an item that waits without computing is ended after sixty times the limit on the
    clock. Workers are started when they are first needed, outlive a call, and end with this process. They can be used
    from any thread; one call runs at a time.

    Args:
        function: `module:function`, a plain function from the parts of an item to a number; the module must not import
            torch if workers are to start fast.
        workers: child processes.
        seconds_per_item: limit for one item.
        memory_bytes: limit for the address space of a worker, which then may start no process; None for a function that
            starts processes and limits them itself. They have to end with the worker's process group, or by themselves.

    Raises:
        ValueError: a limit is not positive.
    """

    def __init__(
        self, function: str, *, workers: int = 2, seconds_per_item: float = 1.0, memory_bytes: int | None = 2**30
    ) -> None:
        if workers < 1 or seconds_per_item <= 0 or (memory_bytes is not None and memory_bytes <= 0):
            raise ValueError(
                f"workers = {workers}, seconds_per_item = {seconds_per_item}, memory_bytes = {memory_bytes}: all three "
                "must be positive"
            )
        self.function, self.workers = function, workers
        self.seconds_per_item, self.memory_bytes = seconds_per_item, memory_bytes
        self._lock = threading.Lock()
        self._begin()

    def _begin(self) -> None:
        self._owner = os.getpid()
        self._alive: list[_Worker] = []
        self._failed_starts = 0
        self._finalizer = weakref.finalize(self, _end, self._alive, self._owner)

    def score(self, items: Sequence[Sequence[Any]], places: Sequence[int] | None = None) -> list[Outcome]:
        """Score items.

        Args:
            items: each a sequence of arguments of the function, of types that JSON knows.
            places: what the log calls each item by; by default its place, from 0.

        Returns:
            One outcome an item, in their order.

        Raises:
            RuntimeError: a worker cannot load the function.
        """
        with self._lock:
            if self._owner != os.getpid():  # after a fork the workers are the other process's
                self._begin()
            try:
                return _Job(self, items, places or range(len(items)), self._alive).run()
            except BaseException:
                # Answers to this call must not be taken for answers to the next one.
                _end(self._alive, self._owner)
                raise

    def close(self) -> None:
        """End the workers; a later call starts new ones."""
        with self._lock:
            _end(self._alive, self._owner)

    def pids(self) -> list[int]:
        """Return the process ids of the workers."""
        return [worker.process.pid for worker in self._alive]

    def __enter__(self) -> ScoringPool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Worker:
    """A child process with the indices of the items that it was given."""

    def __init__(self, pool: ScoringPool) -> None:
        limits = [str(pool.seconds_per_item), str(pool.memory_bytes or 0), str(os.getpid())]
        paths = [os.path.abspath(path) for path in sys.path]
        # A fixed hash seed: the order of a set must not decide a score.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _COMMAND, pool.function, *limits],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=env,
            process_group=0,
        )
        self.ready = False
        self.items: deque[int] = deque()
        self._buffer = bytearray()
        self.restart_clock()

    def restart_clock(self) -> None:
        self.since, self._cpu_before = time.monotonic(), _cpu_seconds(self.process.pid)

    def overdue(self, seconds: float) -> bool:
        elapsed = time.monotonic() - self.since
        if not self.ready:
            return elapsed >= START_SECONDS
        if not self.items or elapsed < seconds:
            return False
        spent = _cpu_seconds(self.process.pid) - self._cpu_before
        return elapsed >= PATIENCE * seconds or math.isnan(spent) or spent >= seconds

    def send(self, indices: Sequence[int], items: Sequence[Sequence[Any]]) -> None:
        assert self.process.stdin is not None
        self.items.extend(indices)
        self.restart_clock()
        self.process.stdin.write(frame([list(items[index]) for index in indices]))
        self.process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """What has come in. Raises EOFError when the process has ended, or has sent what is no message."""
        assert self.process.stdout is not None
        data = os.read(self.process.stdout.fileno(), 1 << 16)
        if not data:
            raise EOFError
        self._buffer += data
        while len(self._buffer) >= LENGTH.size:
            size = LENGTH.unpack(self._buffer[: LENGTH.size])[0]
            if size > MESSAGE_BYTES:
                raise EOFError
            end = LENGTH.size + size
            if len(self._buffer) < end:
                return
            message = read_message(bytes(self._buffer[LENGTH.size : end]))
            del self._buffer[:end]
            if message is None:
                raise EOFError
            yield message

    def kill(self) -> int:
        """End the process group and return the exit status, negative for a signal."""
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended already
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # what was not sent has no reader any more
                stream.close()
        return status


class _Job:
    """One call: items that wait, items that are out, outcomes."""

    def __init__(
        self, pool: ScoringPool, items: Sequence[Sequence[Any]], places: Sequence[int], alive: list[_Worker]
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
            self.alive.append(_Worker(self.pool))
        for worker in list(self.alive):
            if not worker.items and worker.process.poll() is not None:
                self._drop(worker, None)  # it ended while it had nothing to do
            elif worker.ready and not worker.items and self.waiting:
                # Short at the end, so that no worker has a queue while another has nothing.
                size = max(1, min(BATCH, len(self.waiting) // (2 * self.pool.workers)))
                indices = [self.waiting.popleft() for _ in range(min(size, len(self.waiting)))]
                try:
                    worker.send(indices, self.items)
                except BrokenPipeError:
                    self._drop(worker, None)

    def _listen(self, worker: _Worker) -> None:
        try:
            for message in worker.messages():
                if "failed" in message:
                    raise RuntimeError(f"a scoring worker cannot load {self.pool.function}: {message['failed']}")
                if "ready" in message:
                    worker.ready, self.pool._failed_starts = True, 0
                    continue
                if not worker.items:  # an answer to nothing
                    raise EOFError
                self._settle(worker.items.popleft(), Outcome(**message))
                worker.restart_clock()
                if message["reason"] == "memory":  # what is left of it may be too little for the next item
                    self._drop(worker, None)
                    return
        except EOFError:
            self._drop(worker, "ended")

    def _drop(self, worker: _Worker, reason: str | None) -> None:
        """End a worker; the item it was at is settled if there is a reason, the others go back to the queue."""
        self.alive.remove(worker)
        detail = "it took too long"
        ended = False
        if reason == "ended":
            with contextlib.suppress(subprocess.TimeoutExpired):  # it is still there, and has sent what is no message
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
            else:  # somebody else may have ended the worker: only an item that ends a second one is to blame
                self.suspects.add(index)
                self.waiting.appendleft(index)
        self.waiting.extendleft(reversed(worker.items))

    def _settle(self, index: int, outcome: Outcome) -> None:
        self.outcomes[index] = outcome
        if outcome.reason is not None:
            log_zero(self.pool.function, self.places[index], self.items[index], outcome.reason)


def log_zero(name: str, index: int, item: Any, reason: str) -> None:
    """Log that an item has no score, with a shortened text of it.

    Args:
        name: what scores.
        index: the item's place in its call, from 0.
        item: the item.
        reason: why.
    """
    text = " | ".join(str(part)[:100] for part in item)
    logger.warning("%s: item %d scores 0, reason %s: %r", name, index, reason, text)


def _end(alive: list[_Worker], owner: int) -> None:
    if os.getpid() == owner:
        for worker in alive:
            worker.kill()
        alive.clear()


def _cpu_seconds(pid: int) -> float:
    """CPU time of a process in seconds, NaN where the system does not show it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
