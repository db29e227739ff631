"""Worker processes of a comparison, as seen by the process that distributes the cells.

No pool of the standard library does: when a process is killed, concurrent.futures fails all other cells and
multiprocessing.Pool waits forever, and neither gives each process its own environment, log, and protection from Ctrl-C.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from r2vpo.compare.control.schema import LESS_MEMORY
from r2vpo.config.records import Record
from r2vpo.errors import UserError


class Worker:
    """One process that runs cells, started with the number of threads that it may use.

    Args:
        number: its number, for its log's name.
        threads: CPU threads of its libraries.
        folder: folder of ``worker-<number>.log``.

    Raises:
        UserError: something other than a regular file has the log's name.
    """

    def __init__(self, number: int, *, threads: int, folder: Path) -> None:
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

    @property
    def ended(self) -> bool:
        """Return whether the process runs no further cells."""
        return self._process.poll() is not None

    def run(self, task: Mapping[str, Any]) -> Record:
        """Run a cell and wait until it is finished or has failed.

        Args:
            task: the cell's `Work.task`, with the folder of its runs.

        Returns:
            The cell's record; after an unexpected failure, or if the process ended, the worker has ended.
        """
        assert self._process.stdin is not None and self._process.stdout is not None
        with suppress(BrokenPipeError):  # no answer follows
            self._process.stdin.write(json.dumps(task) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            return {"status": "failed", "reason": self._last_words(task)}
        answer = json.loads(line)
        # After an unexpected error the libraries may be in any state.
        if answer["unexpected"]:
            self.stop()
        record: Record = answer["record"]
        return record

    def stop(self) -> None:
        """End the process, whatever it is doing."""
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _last_words(self, task: Mapping[str, Any]) -> str:
        """Return why the process ended unexpectedly."""
        code = self._process.wait()
        if code < 0:
            why = "killed, perhaps for lack of memory" if code == -signal.SIGKILL else f"ended by signal {-code}"
        else:
            why = f"ended with code {code}"
        remedy = f"; {LESS_MEMORY}" if code == -signal.SIGKILL and "control" in task else ""
        return f"its process was {why}: see {self.log}{remedy}"


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
