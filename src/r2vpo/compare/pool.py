"""Worker processes of a comparison, as seen by the process that distributes the cells."""

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

Message = dict[str, Any]


class Worker:
    """One process that runs cells, started with the number of threads that it may use.

    Args:
        number: its number, for its log's name.
        threads: CPU threads of its libraries.
        folder: folder of ``worker-<number>.log``.
        inbox: receives ``(worker, message)``, and ``(worker, None)`` when the process has ended.

    Raises:
        UserError: something other than a regular file has the log's name.
    """

    def __init__(
        self, number: int, *, threads: int, folder: Path, inbox: "queue.Queue[tuple[Worker, Message | None]]"
    ) -> None:
        self.number = number
        self.log = folder / f"worker-{number}.log"
        if self.log.exists() and not self.log.is_file():  # opening a pipe would block
            raise UserError(f"{self.log}: this is not a regular file: remove it")
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "r2vpo.compare.worker"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                encoding="utf-8",
                env=os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)},
                # Ctrl-C is for the process that distributes the cells; it ends the others in its own order.
                start_new_session=True,
            )
        threading.Thread(target=self._listen, args=(inbox,), daemon=True).start()

    def send(self, task: Message) -> None:
        """Send a cell; if the process has ended, the inbox reports it."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            pass

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        if self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(5)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass

    def last_words(self) -> str:
        """Return why the process ended unexpectedly."""
        code = self._process.wait()
        if code < 0:
            why = "killed, perhaps for lack of memory" if code == -9 else f"ended by signal {-code}"
        else:
            why = f"ended with code {code}"
        return f"its process was {why}: see {self.log}"

    def _listen(self, inbox: "queue.Queue[tuple[Worker, Message | None]]") -> None:
        assert self._process.stdout is not None
        try:
            for line in self._process.stdout:
                inbox.put((self, json.loads(line)))
        except ValueError:  # closed by stop()
            return
        inbox.put((self, None))


def cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_jobs(jobs: int) -> None:
    """Refuse to run more cells at once than there are cores.

    Raises:
        UserError: there are fewer cores.
    """
    if not 1 <= jobs <= cores():
        raise UserError(f"--jobs {jobs}: this process may use {cores()} cores: give a number from 1 to {cores()}")
