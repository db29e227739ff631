"""Write files and folders that are complete or absent under their names, one process at a time."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from r2vpo.disk import DiskError, disk_failure
from r2vpo.errors import UserError
from r2vpo.interrupts import held_interrupts


def write_folder(
    target: Path, fill: Callable[[Path], None], *, unless: Callable[[], bool | None] = lambda: None
) -> None:
    """Write a folder that appears under its name only when it is complete; an earlier one is replaced.

    One process at a time writes it, the others wait. What a killed process left is removed, and an earlier folder that
    it had moved aside is put back.

    Args:
        target: the folder.
        fill: writes the content into a given empty folder on the same disk.
        unless: returns whether to leave the folder as it is, or raises; called before and after `fill`, while no other
            process writes the folder.

    Raises:
        UserError: there is a file of that name.
        OSError: it cannot be written.
    """

    def write(new: Path) -> None:
        with _naming(target):
            new.mkdir()
        fill(new)

    if target.exists() and not target.is_dir():
        raise UserError(f"{target}: this is a file, and a folder of that name must be written there: move it away")
    _write(target, write, unless)


def write_file(
    target: Path, write: Callable[[Path], object], *, unless: Callable[[], bool | None] = lambda: None
) -> None:
    """Write a file as `write_folder` writes a folder.

    Args:
        target: the file.
        write: writes the content to a given path on the same disk.
        unless: as that of `write_folder`.

    Raises:
        UserError: there is a folder of that name.
        OSError: it cannot be written.
    """
    if target.is_dir():
        raise UserError(f"{target}: this is a folder, and a file of that name must be written there: move it away")
    _write(target, write, unless)


def flush(paths: Iterable[Path]) -> None:
    """Flush files and the names in folders to disk, so that a later rename cannot be stored before them.

    Args:
        paths: files and folders; the files of a folder are not flushed with it.
    """
    if os.name != "posix":  # Windows opens no folder, and flushes only files that are open for writing
        return
    for path in paths:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def set_permissions(folder: Path) -> None:
    """Let everybody read the files of a new folder who may read the folder, whose permissions follow the user's umask.

    safetensors and `tempfile` let only the owner read what they write. A file with further names is left as it is.

    Args:
        folder: the folder.
    """
    mode = folder.stat().st_mode & 0o666
    for path in folder.rglob("*"):
        found = path.stat()
        if path.is_file() and found.st_nlink == 1 and found.st_mode & mode != mode:
            with suppress(OSError):  # a disk without permissions
                path.chmod(found.st_mode | mode)


def _write(target: Path, write: Callable[[Path], object], unless: Callable[[], bool | None]) -> None:
    from filelock import FileLock

    new, former = (target.with_name(f".{target.name}.{kind}.tmp") for kind in ("new", "former"))
    lock = FileLock(target.with_name(f".{target.name}.lock"))
    with held_interrupts() as interrupts:
        try:
            with interrupts.let_through(), _naming(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                lock.acquire()
            _put_back(target, new, former)
            if unless():
                return
            with interrupts.let_through(), _naming(target, only_disks=True):
                write(new)
                if new.is_dir():
                    set_permissions(new)
                flush([*new.rglob("*"), new])
            if unless():
                return
            with _naming(target):
                if target.is_dir():
                    os.replace(target, former)
                os.replace(new, target)
            flush([target.parent])
        finally:
            if lock.is_locked:
                _put_back(target, new, former)
                with suppress(OSError):  # Windows removes no open file
                    os.unlink(lock.lock_file)  # who waits for it sees that it is gone, and makes a new one
                lock.release()


def _put_back(target: Path, new: Path, former: Path) -> None:
    """Remove what is not complete; put an earlier folder back if nothing has taken its place."""
    if former.is_dir() and not target.exists():
        os.replace(former, target)
    for path in (new, former):
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


@contextmanager
def _naming(target: Path, *, only_disks: bool = False) -> Iterator[None]:
    """Name the target in errors, which name a temporary file, the source of a copy, or nothing."""
    try:
        yield
    except Exception as error:
        failed = disk_failure(error)
        if failed is not None:
            raise DiskError(failed._replace(path=str(target))) from error
        if only_disks or not isinstance(error, OSError) or error.errno is None:
            raise
        raise OSError(error.errno, error.strerror, str(target)) from error
