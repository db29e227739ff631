"""The parent's side of a scoring child process; what the child sends is limited and checked before it is used."""

from __future__ import annotations

import contextlib
import math
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from r2vpo.rewards.worker import LENGTH, MESSAGE_BYTES, frame, read_message

PATIENCE = 60
START_SECONDS = 300.0
_COMMAND = "from r2vpo.rewards.worker import main; main()"


class Child:
    """A child process with the indices of the items that it was given.

    Args:
        function: `module:function`.
        seconds: limit for one item.
        memory_bytes: limit for its address space, or None.
    """

    def __init__(self, function: str, seconds: float, memory_bytes: int | None) -> None:
        limits = [str(seconds), str(memory_bytes or 0), str(os.getpid())]
        paths = [os.path.abspath(path) for path in sys.path]
        # A fixed hash seed, so that the order of a set does not decide a score.
        env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONHASHSEED": "0", "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _COMMAND, function, *limits],
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
        """Restart the measurement of time."""
        self.since, self._cpu_before = time.monotonic(), _cpu_seconds(self.process.pid)

    def overdue(self, seconds: float) -> bool:
        """Whether the process takes too long to start or to score its current item."""
        elapsed = time.monotonic() - self.since
        if not self.ready:
            return elapsed >= START_SECONDS
        if not self.items or elapsed < seconds:
            return False
        spent = _cpu_seconds(self.process.pid) - self._cpu_before
        return elapsed >= PATIENCE * seconds or math.isnan(spent) or spent >= seconds

    def send(self, indices: Sequence[int], items: Sequence[Sequence[Any]]) -> None:
        """Send items to the process.

        Raises:
            BrokenPipeError: the process has ended.
        """
        assert self.process.stdin is not None
        self.items.extend(indices)
        self.restart_clock()
        self.process.stdin.write(frame([list(items[index]) for index in indices]))
        self.process.stdin.flush()

    def messages(self) -> Iterator[dict[str, Any]]:
        """Yield the messages that have arrived.

        Raises:
            EOFError: the process has ended, or has sent something that is not a message.
        """
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
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it may have ended already
            os.killpg(self.process.pid, signal.SIGKILL)
        status = self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError):  # unsent data no longer have a reader
                stream.close()
        return status


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process in seconds, NaN where the system does not show it."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return math.nan
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
