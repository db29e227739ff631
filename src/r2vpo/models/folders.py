"""Folders of models: what a name means, whether the files are as they were written, and which weights they are."""

from __future__ import annotations

import hashlib
from pathlib import Path

from r2vpo.checkpoint_files import DamagedCheckpoint, check_files
from r2vpo.errors import UserError

GGUF = ".gguf"
_MODEL_FILES = {".safetensors", ".bin", GGUF, ".json", ".model", ".txt", ".jinja"}
_SAMPLES, _SAMPLE_BYTES = 64, 1 << 16


def folder_of(name: str, *, what: str) -> Path:
    """Return the path that a name would be, with `~` written out.

    Args:
        name: what the user wrote.
        what: what it names, for the error.

    Raises:
        UserError: it is empty, or begins with `~` and the name of nobody.
    """
    if not name.strip():
        raise UserError(f"{what} has an empty name: give a folder, a listed name or a name on the hub")
    try:
        return Path(name).expanduser()
    except RuntimeError:
        raise UserError(f"{name}: there is no user of that name: write the folder out") from None


def refuse_damaged(folder: Path) -> None:
    """Refuse the folder of a checkpoint whose files are not as they were written; files may have been taken away.

    Args:
        folder: of a model, from a checkpoint or not.

    Raises:
        UserError: a file differs from the checkpoint's list.
    """
    try:
        check_files(folder, pruned=True)
    except DamagedCheckpoint as error:
        raise UserError(f"{error}: name another checkpoint, or copy it again") from None


def fingerprint(weights: str) -> str | None:
    """A digest by which other weights in the same folder are noticed.

    Args:
        weights: folder or name, as `Subject.weights`.

    Returns:
        SHA-256 over names and sizes of the model's files and samples of their contents, which reads a few megabytes of
        a model of any size; None for a name.
    """
    folder = Path(weights).expanduser()
    if not folder.is_dir():
        return None
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.iterdir() if path.suffix in _MODEL_FILES and path.is_file()):
        size = path.stat().st_size
        digest.update(f"{path.name} {size}\n".encode())
        with open(path, "rb") as file:
            for place in range(0, size, max(size // _SAMPLES, _SAMPLE_BYTES)):
                file.seek(place)
                digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()
