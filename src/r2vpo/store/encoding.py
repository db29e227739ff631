"""Compression of the tokens of a group: exact, and quick to read.

Ids and log-probs are split into their bytes, the first bytes of all numbers together and so on, because the high bytes
hardly vary; Zstandard compresses the result. The digest of a text is cheap to compare, and tells equal prompts.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
import zstandard
from torch import Tensor

from r2vpo.errors import UserError

FORMAT = 1
LEVEL = 3
_HEAD = struct.Struct("<BIQ")  # format, rows, tokens

_compressor = zstandard.ZstdCompressor(level=LEVEL)
_decompressor = zstandard.ZstdDecompressor()


def encode_ids(ids: Tensor) -> bytes:
    """Compress token ids, (P,) long."""
    return _compressor.compress(_planes(ids.to(torch.int32).numpy()))


def decode_ids(data: bytes) -> Tensor:
    """Return (P,) long, the inverse of `encode_ids`."""
    return torch.from_numpy(_whole(np.frombuffer(_decompressor.decompress(data), np.uint8), np.int32).astype(np.int64))


def encode_rows(ids: Sequence[Tensor], masks: Sequence[Tensor], log_probs: Sequence[Tensor]) -> bytes:
    """Compress the tokens of a group's rows.

    Args:
        ids: (T_i,) long each.
        masks: (T_i,) bool, True on the tokens that are trained on.
        log_probs: (T_i,) float32, nats.
    """
    lengths = np.array([len(row) for row in ids], np.uint32)
    parts = [
        _HEAD.pack(FORMAT, len(lengths), int(lengths.sum())),
        lengths.tobytes(),
        _planes(torch.cat(list(ids)).to(torch.int32).numpy()),
        _planes(torch.cat(list(log_probs)).to(torch.float32).numpy()),
        np.packbits(torch.cat(list(masks)).numpy()).tobytes(),
    ]
    return _compressor.compress(b"".join(parts))


def decode_rows(data: bytes) -> list[tuple[Tensor, Tensor, Tensor]]:
    """Return ids, mask and log-probs of each row, the inverse of `encode_rows`; the rows of a group share memory.

    Raises:
        UserError: The value is damaged, or of a later format.
    """
    try:
        plain = _decompressor.decompress(data)
        form, rows, tokens = _HEAD.unpack_from(plain)
        raw = np.frombuffer(plain, np.uint8)
        ends = np.cumsum([_HEAD.size, 4 * rows, 4 * tokens, 4 * tokens, (tokens + 7) // 8])
        if form != FORMAT or ends[-1] != len(raw):
            raise ValueError(f"format {form}, {len(raw)} bytes")
        lengths = raw[ends[0] : ends[1]].view(np.uint32).tolist() if rows else []
        ids = torch.from_numpy(_whole(raw[ends[1] : ends[2]], np.int32).astype(np.int64))
        log_probs = torch.from_numpy(_whole(raw[ends[2] : ends[3]], np.float32))
        mask = torch.from_numpy(np.unpackbits(raw[ends[3] :], count=tokens).view(bool))
        return list(zip(ids.split(lengths), mask.split(lengths), log_probs.split(lengths), strict=True))
    except (zstandard.ZstdError, struct.error, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the tokens of a stored group cannot be read ({error}): run r2vpo rollouts check on the store"
        ) from error


def digest(*parts: str | bytes) -> str:
    """Return 32 hexadecimal digits that tell these texts from others."""
    found = hashlib.blake2b(digest_size=16)
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        found.update(len(data).to_bytes(8, "little"))
        found.update(data)
    return found.hexdigest()


def as_json(value: Mapping[str, Any]) -> str:
    """Write a row of data as JSON, the same text for equal rows."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=str)


def _planes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4).T.tobytes()


def _whole(planes: np.ndarray, dtype: type) -> np.ndarray:
    return planes.reshape(4, -1).T.copy().view(dtype).ravel()
