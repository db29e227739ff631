"""Write and check the list of a checkpoint's files, so that missing or damaged ones are found before loading."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError

LIST = "r2vpo_files.json"


class DamagedCheckpoint(UserError):
    """A checkpoint that has changed since it was written. The message has no remedy, which the caller adds."""


def write_list(folder: Path, *, name: str) -> None:
    """List every file of a checkpoint, with its size in bytes and its SHA-256.

    Args:
        folder: the checkpoint's present folder, with all its files.
        name: the final name of its folder, with the number of its step.
    """
    files = {
        path.relative_to(folder).as_posix(): {"bytes": path.stat().st_size, "sha256": digest_of_file(path)}
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != LIST
    }
    listed = {"checkpoint": name, "files": files}
    text = json.dumps(listed | {"sha256": _digest_of_list(listed)}, indent=1)
    (folder / LIST).write_text(text + "\n", encoding="utf-8")


def check_files(folder: Path, *, contents: bool = True, pruned: bool = False) -> None:
    """Compare a checkpoint with its list.

    Args:
        folder: the checkpoint.
        contents: whether to read every file, at the speed of the disk; False checks only names and sizes.
        pruned: whether only a model is read from it, in which case files and the list may be missing.

    Raises:
        DamagedCheckpoint: the list is missing or cannot be read, a file is missing or has changed, or the folder has
            another checkpoint's name. Additional files are allowed.
    """
    if not (folder / LIST).is_file():
        if pruned:
            return
        raise DamagedCheckpoint(
            f"{folder} is not complete, it has no {LIST} (which is written last; r2vpo before 0.1.0 wrote none)"
        )
    try:
        listed = json.loads((folder / LIST).read_text(encoding="utf-8"))
        name, written = listed["checkpoint"], listed.pop("sha256")
        files = {key: (int(file["bytes"]), file["sha256"]) for key, file in listed["files"].items()}
        if _digest_of_list(listed) != written:
            raise ValueError("its digest differs")
    except KeyError:
        raise DamagedCheckpoint(f"{folder / LIST} is damaged, or r2vpo before 0.1.0 wrote it") from None
    except (OSError, ValueError, TypeError, AttributeError, RecursionError, OverflowError):
        raise DamagedCheckpoint(f"{folder / LIST} is damaged") from None
    if folder.name.startswith("checkpoint-") and folder.name != name:
        raise DamagedCheckpoint(f"{folder} holds {name}, not what its name says")
    for key, (size, digest) in files.items():
        path = folder / key
        if not path.is_file():
            if pruned:
                continue
            raise DamagedCheckpoint(f"{path} is missing")
        if path.stat().st_size != size:
            raise DamagedCheckpoint(f"{path} is damaged: it has {path.stat().st_size} bytes of {size}")
        if contents and digest_of_file(path) != digest:
            raise DamagedCheckpoint(f"{path} is damaged: its content is not what was written (SHA-256)")


def _digest_of_list(listed: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(listed, sort_keys=True).encode()).hexdigest()


def digest_of_file(path: Path) -> str:
    """Return a file's SHA-256, which is computed once for each version of a file.

    Args:
        path: the file.
    """
    found = path.stat()
    return _digest_of(path, found.st_ino, found.st_size, found.st_mtime_ns)


@cache  # so that a command and the trainer that it starts read a large checkpoint only once
def _digest_of(path: Path, *version: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
