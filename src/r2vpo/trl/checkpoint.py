"""Write checkpoints that are either complete or absent: they are written to a staging folder, then renamed."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object
from transformers.trainer_utils import sort_checkpoints

from r2vpo.checkpoint_files import write_list
from r2vpo.errors import UserError
from r2vpo.whole import flush, set_permissions

STAGING = ".staging"


def state_path(checkpoint: str | os.PathLike[str], process_index: int) -> Path:
    """Return the file in which a process keeps lambda, the step size, the replay and the round in progress."""
    return Path(checkpoint) / f"r2vpo_state_{process_index}.pt"


def check_common_disk(accelerator: Any, run: Path) -> None:
    """Refuse machines that do not share a disk: a checkpoint would lack the state of the other machines' processes.

    Args:
        accelerator: The run's; all processes must call this.
        run: The folder that will hold the checkpoints.

    Raises:
        UserError: Some process does not see a file of the first one.
    """
    if sum(gather_object([accelerator.is_local_main_process])) == 1:
        return
    mark = run / broadcast_object_list([f".seen-{uuid.uuid4().hex}"])[0]
    if accelerator.is_main_process:
        run.mkdir(parents=True, exist_ok=True)
        mark.touch()
    accelerator.wait_for_everyone()
    seen = gather_object([mark.exists()])
    if accelerator.is_main_process:
        mark.unlink()
    if not all(seen):
        away = ", ".join(str(index) for index, sees in enumerate(seen) if not sees)
        raise UserError(
            f"processes {away} of {len(seen)} do not see {run} of the first machine, so no checkpoint would hold "
            "their state: put output_dir on a disk that all machines share (save_on_each_node does not replace it), or "
            "set save_strategy='no'"
        )


@contextmanager
def staged(run: Path, name: str, *, is_main: bool, barrier: Callable[[], None]) -> Iterator[Path]:
    """Provide a folder to write the checkpoint `name` into, and move it into `run` by one rename when it is complete.

    If anything fails inside (a full disk, an exception), earlier checkpoints are unchanged and the partial one is
    removed. A checkpoint folder in `run` is therefore always complete, even after SIGKILL. Before the rename, its files
    are listed with their sizes and digests (`r2vpo.checkpoint_files`).

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
        if staging.is_symlink() or staging.is_file():
            staging.unlink()
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
        set_permissions(staging / name)
        write_list(staging / name, name=name)
        flush([*staging.rglob("*"), staging])
        if (run / name).exists():
            shutil.rmtree(run / name)
        os.replace(staging / name, run / name)
        flush([run])
        shutil.rmtree(staging, ignore_errors=True)
    barrier()


def rotate(run: Path, limit: int | None, best: str | None) -> None:
    """Remove the oldest checkpoints beyond a limit, by transformers' rule; each is renamed before it is deleted.

    The newest is kept, to resume from, and so is the best.

    Args:
        run: The folder that holds the checkpoints.
        limit: Number of checkpoints to keep; None or 0 keeps all.
        best: Path of the best one, if known.
    """
    names = sort_checkpoints(str(run)) if limit else []
    kept = {names[-1], *([] if best is None else [str(Path(best))])} if names else set()
    surplus = len(names) - max(limit or 0, len(kept))
    for name in [name for name in names if name not in kept][: max(surplus, 0)]:
        removed = run / STAGING / Path(name).name
        removed.parent.mkdir(exist_ok=True)
        os.replace(name, removed)
    shutil.rmtree(run / STAGING, ignore_errors=True)
