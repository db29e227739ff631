"""Checkpoints that are either whole or not there: written beside their place, then renamed into it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

STAGING = ".staging"


def state_path(checkpoint: str | os.PathLike[str], process_index: int) -> Path:
    """Where a process keeps lambda, the step size, the replay and the round in progress."""
    return Path(checkpoint) / f"r2vpo_state_{process_index}.pt"


@contextmanager
def staged(run: Path, name: str, *, is_main: bool, barrier: Callable[[], None]) -> Iterator[Path]:
    """Give a folder to write the checkpoint `name` into, and put it into `run` in one rename when all is written.

    Whatever goes wrong inside (a full disk, an exception), earlier checkpoints stay as they are and the half-written
    one is removed. A checkpoint folder in `run` is therefore always complete, even after SIGKILL.

    Args:
        run: The folder that holds the checkpoints.
        name: The new checkpoint's folder name.
        is_main: Whether this process creates, renames and removes.
        barrier: Waits for every process.

    Yields:
        The staging folder; the checkpoint belongs in `staging / name`.
    """
    staging = run / STAGING
    if is_main:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    barrier()
    try:
        yield staging
    except BaseException:
        if is_main:
            shutil.rmtree(staging, ignore_errors=True)
        raise
    barrier()
    if is_main:
        _flush(staging / name)
        if (run / name).exists():
            shutil.rmtree(run / name)
        os.replace(staging / name, run / name)
        _flush(run)
        shutil.rmtree(staging, ignore_errors=True)
    barrier()


def _flush(folder: Path) -> None:
    """Force a folder, with all that is in it, to the disk, so that the rename cannot overtake them."""
    for path in [*folder.rglob("*"), folder]:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
