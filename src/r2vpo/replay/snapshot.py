"""Atomic snapshot files: either the whole new state is on disk, or the earlier one."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import pickle
import tempfile
from pathlib import Path
from typing import Any

import torch

from r2vpo.errors import UserError
from r2vpo.whole import flush

MAGIC = b"R2VPOSNAPSHOT1\n\0"
DIGEST_BYTES = 32


def save(path: str | os.PathLike[str], state: dict[str, Any]) -> None:
    """Write a state so that a crash at any moment leaves either the old file or the new one.

    The file consists of a magic string, the SHA-256 of the payload and the payload (`torch.save`). It is written to a
    temporary file in the same folder, flushed to disk and renamed; the folder is flushed afterwards, so that the name
    also survives a power failure.

    Args:
        path: where to write; the folder must exist.
        state: tensors, numbers, strings, lists and dicts.

    Raises:
        UserError: the file cannot be written (for example because the disk is full); an earlier file at `path` does not
            change.
    """
    path = Path(path)
    buffer = io.BytesIO()
    torch.save(state, buffer)
    payload = buffer.getbuffer()
    temporary: str | None = None
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(descriptor, "wb") as file:
            file.write(MAGIC)
            file.write(hashlib.sha256(payload).digest())
            file.write(payload)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        flush([path.parent])
    except OSError as error:
        raise UserError(
            f"cannot write {path}: {error.strerror or error}: free space or choose another folder; an "
            "earlier file there is unchanged"
        ) from error
    finally:
        # After the rename the temporary file is gone; after a failure before it, it has to be removed.
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def load(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Read a state written by `save`, after checking that it is complete.

    Args:
        path: the file.

    Returns:
        The state, tensors on the CPU.

    Raises:
        UserError: the file is missing, truncated, altered or not a snapshot.
    """
    path = Path(path)
    remedy = "resume from an earlier checkpoint"
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}: {remedy}") from error
    head = len(MAGIC) + DIGEST_BYTES
    if not data.startswith(MAGIC) or len(data) < head:
        raise UserError(f"{path} is not a snapshot of r2vpo ({len(data)} bytes): {remedy}")
    payload = memoryview(data)[head:]
    if hashlib.sha256(payload).digest() != data[len(MAGIC) : head]:
        raise UserError(f"{path} is damaged (checksum differs, {len(data)} bytes): {remedy}")
    try:
        state = torch.load(io.BytesIO(payload), map_location="cpu", weights_only=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        first_line = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(f"{path} cannot be read ({first_line}): {remedy}") from error
    if not isinstance(state, dict):
        raise UserError(f"{path} holds a {type(state).__name__}, not a state: {remedy}")
    return state
