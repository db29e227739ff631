"""Cache of converted models, each of which is built completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from r2vpo.disk import disk_failure
from r2vpo.environment import CACHE, USER_CACHE
from r2vpo.errors import UserError
from r2vpo.whole import write_folder

NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def cache_root() -> Path:
    """Return the cache folder: `R2VPO_CACHE`, else `XDG_CACHE_HOME/r2vpo`, else `~/.cache/r2vpo`."""
    named = os.environ.get(CACHE.name)
    if named:
        return Path(named).expanduser()
    base = os.environ.get(USER_CACHE.name)
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "r2vpo"


def is_complete(folder: Path) -> bool:
    """Tell whether the folder holds a converted model."""
    return all((folder / name).is_file() for name in NEEDED_FILES)


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder unless it is complete; one process at a time builds, the others wait and use its result.

    Args:
        target: the folder's final location in the cache.
        build: function that writes the content into a given folder.

    Returns:
        `target`.

    Raises:
        UserError: the cache cannot be written.
    """
    if is_complete(target):
        return target
    try:
        write_folder(target, build, unless=lambda: is_complete(target))
    except OSError as error:
        raise unwritable(target.parent, error) from error
    return target


def unwritable(folder: Path, error: OSError) -> UserError:
    """Return the error for a cache that cannot be written.

    Args:
        folder: the folder in the cache.
        error: what writing raised.
    """
    failed = disk_failure(error)
    what, remedy = (error.strerror or str(error), "make it writable") if failed is None else failed[1:]
    return UserError(
        f"cannot write the model cache {folder}: {what}: {remedy}, or name another folder in the environment variable "
        f"{CACHE.name}"
    )
