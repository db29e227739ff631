"""A program in a terminal: a process on a pseudo-terminal, what is typed there, and what it shows."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tests.integration.cli import ROOT

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Terminal:
    """A process and the terminal that it has."""

    def __init__(self, process: subprocess.Popen[bytes], master: int) -> None:
        self.process, self._master, self.shown = process, master, ""

    def wait_for(self, text: str, seconds: float = 120.0) -> None:
        """Wait until the terminal has shown a text."""
        end = time.monotonic() + seconds
        while text not in self.shown:
            assert self._read(max(end - time.monotonic(), 0)), f"not shown: {text!r} in\n{self.shown}"

    def type(self, keys: str) -> None:
        os.write(self._master, keys.encode())

    def press_ctrl_c(self) -> None:
        self.type("\x03")

    def end(self, seconds: float = 120.0) -> int:
        """Wait for the process's end and return its exit code."""
        end = time.monotonic() + seconds
        while self._read(max(end - time.monotonic(), 0)):
            pass
        return self.process.wait(max(end - time.monotonic(), 1))

    def _read(self, seconds: float) -> bool:
        """Read what is there, without the escape codes; False at the end, or if nothing comes."""
        ready, _, _ = select.select([self._master], [], [], seconds)
        try:
            more = os.read(self._master, 1 << 16) if ready else b""
        except OSError:  # the last process that had the terminal has ended
            return False
        self.shown += _ESCAPE.sub("", more.decode(errors="replace"))
        return bool(more)


def in_terminal(
    *arguments: str, folder: Path, columns: int = 160, **environment: str
) -> contextlib.AbstractContextManager[Terminal]:
    """`python -m r2vpo.cli.main` in a terminal."""
    folders = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return terminal_of(
        [sys.executable, "-m", "r2vpo.cli.main", *arguments],
        folder=folder,
        columns=columns,
        **{"OMP_NUM_THREADS": "1", "PYTHONPATH": folders} | environment,
    )


@contextlib.contextmanager
def terminal_of(command: Sequence[str], *, folder: Path, columns: int = 160, **environment: str) -> Iterator[Terminal]:
    """A command on a pseudo-terminal of 40 lines, from which Ctrl-C reaches it."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=os.environ | {"TERM": "xterm"} | environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(slave)
    try:
        yield Terminal(process, master)
    finally:
        process.kill()
        process.wait()
        os.close(master)
