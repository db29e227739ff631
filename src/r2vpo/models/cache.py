"""Cache of converted models, each of which is built completely or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from r2vpo.environment import CACHE, USER_CACHE
from r2vpo.errors import UserError

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
    """Build a folder unless it exists; it appears under its name only when it is complete.

    One process at a time builds; the others wait for it and use its result. The next process removes what a killed
    process has left behind.

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
    from filelock import FileLock

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            if not is_complete(target):
                _build_locked(target, build)
    except OSError as error:
        raise UserError(
            f"cannot write the model cache {target.parent}: {error.strerror or error}: free space there, or "
            f"name another folder in the environment variable {CACHE.name}"
        ) from error
    return target


def _build_locked(target: Path, build: Callable[[Path], None]) -> None:
    prefix = f".{target.name}.building-"
    # No other process builds under the lock, so a folder of that name was left by a killed process.
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    try:
        build(temporary)
        for file in temporary.iterdir():
            with file.open("r+b") as handle:
                os.fsync(handle.fileno())
        temporary.chmod(0o755)
        # An existing incomplete folder (files deleted by hand) would make the rename fail.
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
