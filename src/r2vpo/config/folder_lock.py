"""Create and lock the folders of runs, evaluations and comparisons, so that one process works in each at a time.

The kernel releases the lock when its holder ends, however it ends.
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

from r2vpo.config.records import TEMPORARY, write_atomically
from r2vpo.errors import UserError

LOCK, HOLDER = ".lock", ".lock.json"
"""The lock file, which is never removed, and a description of its holder for the message to other processes."""
_GLANCE_SECONDS = 0.3
"""How long to wait for the lock: `holder`, which `r2vpo runs` calls, takes a free lock for a moment."""


class FolderInUse(UserError):
    """Another process works in a folder."""


@contextmanager
def working_in(folder: Path, *, instead: str) -> Iterator[None]:
    """Lock a folder while this process works in it.

    Args:
        folder: an existing folder.
        instead: what another process can do instead of waiting, for its message.

    Raises:
        FolderInUse: another process holds the lock; the message names its host, process number and command.
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
            raise UserError(f"{folder / LOCK}: this is not a regular file: remove it, or {instead}") from None
        raise UserError(f"{folder}: {error.strerror}: make it writable, or {instead}") from None
    try:
        command = " ".join([Path(sys.argv[0]).name, *sys.argv[1:]])[:200]
        holder = {"host": socket.gethostname(), "pid": os.getpid(), "command": command}
        with suppress(OSError):  # on a full disk other processes get no details, but this one keeps the lock
            write_atomically(folder / HOLDER, json.dumps(holder))
        yield
    finally:
        with suppress(OSError):
            (folder / HOLDER).unlink(missing_ok=True)
        lock.release()


def new_folder(parent: Path, name: str) -> Path:
    """Create a new folder under a unique name, safely against other processes doing the same.

    Args:
        parent: the parent folder; created if missing.
        name: the folder's name; -2, -3, ... is appended if it is taken.

    Raises:
        UserError: a thousand folders of that name exist.
        OSError: the folder cannot be created.
    """
    parent.mkdir(parents=True, exist_ok=True)
    for attempt in range(1, 1000):
        path = parent / (name if attempt == 1 else f"{name}-{attempt}")
        with suppress(FileExistsError):
            path.mkdir()
            return path
    raise UserError(f"{parent / name}: 1000 folders of this name exist: choose another place")


def is_empty(folder: Path) -> bool:
    """Return whether a folder holds only lock files and the temporary files of a killed process."""
    return all(entry.name in (LOCK, HOLDER) or entry.match(TEMPORARY) for entry in folder.iterdir())


def holder(folder: Path) -> str | None:
    """Return a description of the process that works in a folder, or None."""
    if not (folder / LOCK).is_file():
        return None
    lock = FileLock(folder / LOCK, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        return _holder(folder)
    except OSError:  # a folder that only its owner can write to
        return None
    lock.release()
    return None


def _holder(folder: Path) -> str:
    if not (folder / HOLDER).is_file():  # reading a pipe would block
        return "another process"
    try:
        known = json.loads((folder / HOLDER).read_text(encoding="utf-8"))
        return f"process {known['pid']} on {known['host']} ({known['command']})"
    except (
        OSError,
        ValueError,
        KeyError,
        TypeError,
        RecursionError,
    ):  # the process has only just started, or its disk is full
        return "another process"
