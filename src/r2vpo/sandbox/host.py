"""The host's side of a sandbox: starting it, running programs in it, and ending it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from typing import Literal, NamedTuple

from r2vpo.sandbox.command import ENVIRONMENT, command
from r2vpo.sandbox.settings import Settings, Unusable

PATIENCE = 10
START_SECONDS = 120.0
_BUSY = 10
"""Factor by which ticks may take longer on a busy machine."""
_MESSAGE_BYTES = 1 << 16


class Report(NamedTuple):
    """The outcome of a request.

    Attributes:
        late: whether it was ended because of a time limit.
        spent: CPU time of its processes, including what was spent before.
        elapsed: wall-clock time, in ticks of the sandbox (10 ms each, however late they come on a busy machine),
            including what had elapsed before.
        status: exit status of the process that decides; negative for a signal.
        used: whether the sandbox's files were touched, so that the next program should get another sandbox.
    """

    late: bool
    spent: float
    elapsed: float
    status: int
    used: bool


class Sandbox:
    """A sandbox with an interpreter that waits for programs; it ends together with the thread that started it.

    Raises:
        Unusable: the sandbox does not start.
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
            raise Unusable(said[-1] if said else "it ended without an error message")

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
            mode: `script`, with files for job, standard input and standard output; or `test`, with files for job, test
                and verdict.
            files: file descriptors.
            seconds: limit for the CPU time; the limit for wall-clock time is ten times as much, or the same for a
                program that sleeps.
            spent: CPU time that also counts: that of the program's earlier tests.
            elapsed: wall-clock time that also counts.

        Raises:
            Unusable: the sandbox has ended or does not answer.
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
        """End all processes of the sandbox."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def memory_file(content: bytes | None = None) -> int:
    """Return a file descriptor of a file in memory.

    Args:
        content: its unchangeable content; None for an empty file that can be written.
    """
    import fcntl  # not at the top: the package can be imported where there is none

    number = os.memfd_create("r2vpo", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    if content is not None:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(content)
        os.lseek(number, 0, os.SEEK_SET)
        seals = fcntl.F_SEAL_WRITE | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK
        fcntl.fcntl(number, fcntl.F_ADD_SEALS, seals)
    return number
