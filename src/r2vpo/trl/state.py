"""A round in progress as tensors and numbers, so that a checkpoint inside it resumes inside it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from r2vpo.replay.packing import pack, unpack
from r2vpo.trl.rows import MicroBatch, collate


def pack_round(micros: Sequence[MicroBatch]) -> list[dict[str, Any]]:
    """Lay the rows of each micro-batch end to end, with its normalizer."""
    return [
        {"rows": pack([[row] for row in micro.rollouts]), "normalizer": float(micro.normalizer)} for micro in micros
    ]


def unpack_round(
    packed: Sequence[dict[str, Any]], *, version: int, pad_token_id: int, device: torch.device
) -> list[MicroBatch]:
    """Rebuild the micro-batches; the inverse of `pack_round`."""
    micros = []
    for part in packed:
        rows = [row for group in unpack(part["rows"]) for row in group]
        micro = collate(rows, version=version, pad_token_id=pad_token_id, device=device)
        micro.normalizer = torch.tensor(part["normalizer"], device=device)
        micros.append(micro)
    return micros
