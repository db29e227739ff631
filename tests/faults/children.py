"""Training in forked children: torch and TRL are imported once, and each case takes about two seconds."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from r2vpo.cli.main import main
from r2vpo.training import run  # noqa: F401  (imported before the first fork, with all that it imports)

SECONDS = 120
KILLED = -signal.SIGKILL


@dataclass(frozen=True)
class Ended:
    """How a child ended.

    Attributes:
        code: its exit code; minus the signal's number for a signal.
        out: what it printed.
        err: its errors.
    """

    code: int
    out: str
    err: str


def forked(work: Callable[[], int], folder: Path) -> int:
    """Start work in a child.

    Args:
        work: gives the exit code.
        folder: gets `out` and `err`.

    Returns:
        The child's number.
    """
    folder.mkdir(parents=True, exist_ok=True)
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        torch.set_num_threads(1)
        for number, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        code = work()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(child: int, folder: Path) -> Ended:
    """Wait for a child; one that hangs fails the test."""
    end = time.monotonic() + SECONDS
    while True:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            break
        if time.monotonic() > end:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError(f"it hangs: {(folder / 'err').read_text()}")
        time.sleep(0.01)
    return Ended(os.waitstatus_to_exitcode(status), (folder / "out").read_text(), (folder / "err").read_text())


def command(*arguments: str, folder: Path) -> Ended:
    """A command in a child, to its end."""
    return ended(forked(lambda: main(arguments), folder), folder)


def killed_at(event: int, watched: Path, *arguments: str, folder: Path, by: signal.Signals = signal.SIGKILL) -> Ended:
    """A command that a signal ends right before it touches a folder's files for the nth time.

    Args:
        event: counted from 0; one beyond all there are lets the command end by itself.
        watched: the folder.
        arguments: of the command.
        folder: gets its output, and in `events` what it did to the folder.
        by: the signal.
    """

    def work() -> int:
        seen = 0
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite in the background ignores it
        log = os.open(folder / "events", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        here = threading.local()

        def hook(name: str, values: tuple[object, ...]) -> None:
            nonlocal seen
            if name not in _EVENTS or getattr(here, "inside", False):
                return
            here.inside = True
            if any(isinstance(value, str | os.PathLike) and str(value).startswith(str(watched)) for value in values):
                os.write(log, f"{name} {values[0]}\n".encode())
                if seen == event:
                    os.kill(os.getpid(), by)
                seen += 1
            here.inside = False

        sys.addaudithook(hook)
        return main(arguments)

    return ended(forked(work, folder), folder)


_EVENTS = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate", "shutil.rmtree", "shutil.move"}
