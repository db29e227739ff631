"""Compression of tokens is exact, small, and refuses what it has not written."""

from __future__ import annotations

import pytest
import torch
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from r2vpo.errors import UserError
from r2vpo.store.encoding import as_json, decode_ids, decode_rows, digest, encode_ids, encode_rows


@given(st.lists(st.integers(0, 40), min_size=1, max_size=8), st.integers(0, 2**31))
def test_rows_come_back_bit_for_bit(lengths: list[int], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    ids = [torch.randint(0, 2**31 - 1, (length,), generator=generator) for length in lengths]
    masks = [torch.rand(length, generator=generator) < 0.5 for length in lengths]
    log_probs = [torch.randn(length, generator=generator) * 10 for length in lengths]
    for values in log_probs[:1]:
        values[:3] = torch.tensor([float("nan"), float("-inf"), -0.0])[: len(values)]
    found = decode_rows(encode_rows(ids, masks, log_probs))
    assert len(found) == len(lengths)
    for row, before in zip(found, zip(ids, masks, log_probs, strict=True), strict=True):
        assert [part.dtype for part in row] == [torch.int64, torch.bool, torch.float32]
        assert torch.equal(row[0], before[0]) and torch.equal(row[1], before[1])
        assert torch.equal(row[2].view(torch.int32), before[2].view(torch.int32))


def test_a_prompt_comes_back() -> None:
    for ids in (torch.arange(300) * 500, torch.empty(0, dtype=torch.long)):
        assert torch.equal(decode_ids(encode_ids(ids)), ids)


def test_real_answers_take_fewer_bytes_than_plain_ones() -> None:
    """Plain ones take 8 + 1 + 4 bytes per token. Log-probs near 0 and small ids are what policies give."""
    generator = torch.Generator().manual_seed(0)
    ids = (torch.rand(16, 300, generator=generator).pow(4) * 49_000).long()
    log_probs = -torch.rand(16, 300, generator=generator).pow(8) * 5
    data = encode_rows(list(ids), list(torch.ones(16, 300, dtype=torch.bool)), list(log_probs))
    assert len(data) < 6 * ids.numel()


@pytest.mark.parametrize("change", ["truncated", "other", "longer", "format"])
def test_damage_is_reported(change: str) -> None:
    data = encode_rows([torch.arange(9)], [torch.ones(9, dtype=torch.bool)], [torch.zeros(9)])
    raw = zstandard.ZstdDecompressor().decompress(data)
    compress = zstandard.ZstdCompressor().compress
    damaged = {
        "truncated": data[:-5],
        "other": b"something else",
        "longer": compress(raw + b"\0"),
        "format": compress(b"\x09" + raw[1:]),
    }
    with pytest.raises(UserError, match="cannot be read"):
        decode_rows(damaged[change])


def test_texts_are_told_apart() -> None:
    assert digest("ab", "c") != digest("a", "bc")
    assert digest("ab") == digest(b"ab")
    assert as_json({"b": 1, "a": "ä"}) == as_json({"a": "ä", "b": 1}) == '{"a":"ä","b":1}'
