"""A sandbox as it is seen from outside: it is started, given programs, and ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from typing import Literal, NamedTuple

from r2vpo.sandbox.command import ENVIRONMENT, command
from r2vpo.sandbox.settings import Settings, Unusable

PATIENCE = 10
START_SECONDS = 120.0
_BUSY = 10
"""How many times as long ticks may take on a busy machine."""
_MESSAGE_BYTES = 1 << 16


class Report(NamedTuple):
    """What became of a request.

    Attributes:
        late: whether it was ended because of the time.
        spent: CPU time of its processes, with what was spent before.
        elapsed: time on the clock, in ticks of the sandbox (10 ms each, however late they come on a busy machine), with
            what had gone by before.
        status: how the process that decides ended; negative for a signal.
        used: whether the sandbox's files were touched, so that the next program should have another one.
    """

    late: bool
    spent: float
    elapsed: float
    status: int
    used: bool


class Sandbox:
    """A sandbox with an interpreter that waits for programs; it ends with the thread that started it.

    Args:
        settings: its kind.

    Raises:
        Unusable: it does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_SECONDS)
        errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                command(settings, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            raise Unusable(str(error)) from None
        finally:
            theirs.close()
        try:
            hello = self._control.recv(_MESSAGE_BYTES)
        except OSError:
            hello = b""
        with errors:
            errors.seek(0)
            said = errors.read(_MESSAGE_BYTES).decode(errors="replace").strip().splitlines()
        if not hello:
            self.close()
            raise Unusable(said[-1] if said else "it ended without a word")

    def run(
        self,
        mode: Literal["script", "test"],
        files: Sequence[int],
        seconds: float,
        *,
        spent: float = 0.0,
        elapsed: float = 0.0,
    ) -> Report:
        """Run a program.

        Args:
            mode: `script`, with the files job, standard input and output; `test`, with job, test and verdict.
            files: file descriptors.
            seconds: limit for the CPU time; on the clock it is ten times as much, and as much for one that sleeps.
            spent: CPU time that counts as well: of the program's earlier tests.
            elapsed: time on the clock that counts as well.

        Raises:
            Unusable: the sandbox has ended, or does not answer.
        """
        patience = PATIENCE * seconds
        self._control.settimeout(_BUSY * patience + START_SECONDS)
        request = {"mode": mode, "seconds": seconds, "patience": patience, "spent": spent, "elapsed": elapsed}
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], files)
            data = self._control.recv(_MESSAGE_BYTES)
        except OSError as error:
            raise Unusable(str(error)) from None
        if not data:
            raise Unusable("it has ended")
        return Report(**json.loads(data))

    def close(self) -> None:
        """End everything in it."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def memory_file(content: bytes | None = None) -> int:
    """Return a file descriptor of a file in memory.

    Args:
        content: what it holds, for ever; None for an empty file that can be written.
    """
    number = os.memfd_create("r2vpo", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    if content is not None:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(content)
        os.lseek(number, 0, os.SEEK_SET)
        fcntl(number, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
    return number
