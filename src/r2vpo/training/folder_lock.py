"""Folders of runs, evaluations and comparisons: made by one process, and worked in by one at a time.

The lock is freed by the kernel when its holder ends, however it ends.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from r2vpo.errors import UserError
from r2vpo.training.records import TEMPORARY, write_atomically

LOCK, HOLDER = ".lock", ".lock.json"
"""The locked file, which stays, and who holds it, for the message that others get."""
_GLANCE_SECONDS = 0.3
"""Of patience: `holder`, which `r2vpo runs` asks, takes a free lock for a moment."""


class FolderInUse(UserError):
    """Another process works in a folder."""


@contextmanager
def working_in(folder: Path, *, instead: str) -> Iterator[None]:
    """Hold a folder while this process works in it.

    Args:
        folder: an existing folder.
        instead: what another process can do in place of waiting, for its message.

    Raises:
        FolderInUse: another process holds it; the line names its host, number and command.
        UserError: the folder cannot be written.
    """
    lock = FileLock(folder / LOCK, timeout=_GLANCE_SECONDS)
    try:
        lock.acquire()
    except Timeout:
        raise FolderInUse(f"{folder}: {_holder(folder)} works here: wait for it, stop it, or {instead}") from None
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        if (folder / LOCK).is_symlink() or (folder / LOCK).is_dir():
            raise UserError(f"{folder / LOCK}: this is no regular file: remove it, or {instead}") from None
        raise UserError(f"{folder}: {error.strerror}: make it writable, or {instead}") from None
    try:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "command": command}
        with suppress(OSError):  # a full disk takes the message from others, not the folder from us
            write_atomically(folder / HOLDER, json.dumps(holder))
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def new_folder(parent: Path, name: str) -> Path:
    """Make a folder that nobody else has, whoever else makes one at the same moment.

    Args:
        parent: where; made if it is not there.
        name: its name; where that is taken, with -2, -3, ... behind.

    Raises:
        UserError: a thousand of that name are there.
        OSError: it cannot be made.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        path = parent / (name if attempt == 1 else f"{name}-{attempt}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise UserError(f"{parent / name}: 1000 folders of this name are there: choose another place")


def is_empty(folder: Path) -> bool:
    """Whether a folder holds nothing but what a lock leaves there, and temporary files of a killed process."""
    return all(entry.name in (LOCK, HOLDER) or entry.match(TEMPORARY) for entry in folder.iterdir())


def holder(folder: Path) -> str | None:
    """Which process works in a folder, None if none does."""
    if not (folder / LOCK).is_file():
        return None
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return _holder(folder)
    except OSError:  # a folder that only its owner can write
        return None
    lock.release()
    return None


def _holder(folder: Path) -> str:
    if not (folder / HOLDER).is_file():  # a pipe would be waited for
        return "another process"
    try:
        known = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {known['pid']} on {known['host']} ({known['command']})"
    except (OSError, ValueError, KeyError, TypeError, RecursionError):  # it has only just begun, or its disk is full
        return "another process"
