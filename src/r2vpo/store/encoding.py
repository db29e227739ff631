"""Compression of the tokens of a group: exact, and quick to read.

Ids and log-probs are split into their bytes, the first bytes of all numbers together and so on, because the high bytes
hardly vary; Zstandard compresses the result. The digest of a text is cheap to compare, and tells equal prompts.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, NamedTuple

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
    """Return (P,) long, the inverse of `encode_ids`.

    Raises:
        UserError: The value is damaged.
    """
    with readable("prompt"):
        plain = np.frombuffer(_decompressor.decompress(data), np.uint8)
        return torch.from_numpy(_joined([plain], np.int32).astype(np.int64))


def count_ids(data: bytes) -> int:
    """Return how many ids `decode_ids` returns, which the head of the value says.

    Raises:
        UserError: The value is damaged.
    """
    with readable("prompt"):
        return zstandard.frame_content_size(data) // 4


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


Tokens = tuple[Tensor, Tensor, Tensor]
"""Ids, mask and log-probs of a row."""


def decode_rows(data: bytes) -> list[Tokens]:
    """Return ids, mask and log-probs of each row, the inverse of `encode_rows`.

    Raises:
        UserError: The value is damaged, or of a later format.
    """
    (rows,) = decode_groups([data])
    return rows


def decode_groups(values: Sequence[bytes]) -> list[list[Tokens]]:
    """Return the rows of groups, the inverse of `encode_rows` for each; all of them share memory.

    Raises:
        UserError: A value is damaged, or of a later format.
    """
    if not values:
        return []
    with readable("tokens"):
        parts = [_parts(_decompressor.decompress(data)) for data in values]
        lengths = [part.lengths for part in parts]
        of_rows = [length for some in lengths for length in some]
        ids = _joined([part.ids for part in parts], np.int32).astype(np.int64)
        log_probs = _joined([part.log_probs for part in parts], np.float32)
        mask = np.concatenate([np.unpackbits(part.mask, count=sum(part.lengths)) for part in parts]).view(bool)
        split = [torch.from_numpy(each).split(of_rows) for each in (ids, mask, log_probs)]
    rows = iter(zip(*split, strict=True))
    return [list(islice(rows, len(some))) for some in lengths]


@contextmanager
def readable(what: str) -> Iterator[None]:
    """Report what is wrong with a stored value as one line.

    Args:
        what: The value, such as `prompt`.

    Raises:
        UserError: It is damaged, or of a later format.
    """
    try:
        yield
    except (zstandard.ZstdError, struct.error, TypeError, ValueError, RuntimeError) as error:
        raise UserError(
            f"the {what} of a stored group cannot be read ({error}): run r2vpo rollouts check on the store"
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


def from_json(text: str) -> Any:
    """Return a row of data, the inverse of `as_json`.

    Raises:
        UserError: The text is damaged.
    """
    with readable("row of data"):
        return json.loads(text)


def _planes(values: np.ndarray) -> bytes:
    return np.ascontiguousarray(values).view(np.uint8).reshape(-1, 4).T.tobytes()


class _Parts(NamedTuple):
    """A group's bytes: the length of each row, and the values of all rows."""

    lengths: list[int]
    ids: np.ndarray
    log_probs: np.ndarray
    mask: np.ndarray


def _parts(plain: bytes) -> _Parts:
    form, rows, tokens = _HEAD.unpack_from(plain)
    ids = _HEAD.size + 4 * rows
    log_probs, mask, end = ids + 4 * tokens, ids + 8 * tokens, ids + 8 * tokens + (tokens + 7) // 8
    if form != FORMAT or end != len(plain):
        raise ValueError(f"format {form}, {len(plain)} bytes")
    lengths = list(struct.unpack_from(f"<{rows}I", plain, _HEAD.size))
    if sum(lengths) != tokens:
        raise ValueError(f"{sum(lengths)} tokens in its rows, {tokens} in all")
    raw = np.frombuffer(plain, np.uint8)
    return _Parts(lengths, raw[ids:log_probs], raw[log_probs:mask], raw[mask:])


def _joined(planes: Sequence[np.ndarray], dtype: type) -> np.ndarray:
    """Put together the numbers of several values, whose bytes `_planes` has divided."""
    parts = np.concatenate([some.reshape(4, -1) for some in planes], axis=1)
    whole = np.empty((parts.shape[1], 4), np.uint8)
    for place, part in enumerate(parts):  # four copies take half the time of a transposed one
        whole[:, place] = part
    return whole.view(dtype).ravel()
