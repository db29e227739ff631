"""A folder of converted models, each built whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from filelock import FileLock

from r2vpo.errors import UserError

NEEDED_FILES = ("config.json", "model.safetensors", "tokenizer.json")


def cache_root() -> Path:
    """Return the cache folder: `R2VPO_CACHE`, else `XDG_CACHE_HOME/r2vpo`, else `~/.cache/r2vpo`."""
    named = os.environ.get("R2VPO_CACHE")
    if named:
        return Path(named).expanduser()
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base).expanduser() if base else Path.home() / ".cache") / "r2vpo"


def is_complete(folder: Path) -> bool:
    """Say whether a converted model lies in the folder."""
    return all((folder / name).is_file() for name in NEEDED_FILES)


def build_once(target: Path, build: Callable[[Path], None]) -> Path:
    """Build a folder unless it is there; it appears under its name only when it is complete.

    One process at a time builds, the others wait for it and use its result. What a killed process left behind
    is removed by the next one.

    Args:
        target: the folder's final place, in the cache.
        build: writes the content into the folder it is given.

    Returns:
        `target`.

    Raises:
        UserError: when the cache cannot be written.
    """
    if is_complete(target):
        return target
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(target.parent / f".{target.name}.lock"):
            if not is_complete(target):
                _build_locked(target, build)
    except OSError as error:
        raise UserError(
            f"cannot write the model cache {target.parent}: {error.strerror or error}: free space there, or "
            "name another folder in the environment variable R2VPO_CACHE"
        ) from error
    return target


def _build_locked(target: Path, build: Callable[[Path], None]) -> None:
    prefix = f".{target.name}.building-"
    # Under the lock nobody else builds, so a folder of that name is what a killed process left.
    for leftover in target.parent.glob(f"{prefix}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(dir=target.parent, prefix=prefix))
    try:
        build(temporary)
        for file in temporary.iterdir():
            with file.open("rb") as handle:
                os.fsync(handle.fileno())
        temporary.chmod(0o755)
        # An incomplete folder in the way (files deleted by hand) would make the rename fail.
        shutil.rmtree(target, ignore_errors=True)
        os.replace(temporary, target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
