"""Packing of groups of rollouts into a few long tensors, for small snapshots that are quick to write."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from r2vpo.replay.group import Group, Rollout, rows_of


def pack(groups: Sequence[Group]) -> dict[str, Any]:
    """Concatenate the rows of the groups, one tensor per field.

    Args:
        groups: the groups.

    Returns:
        Tensors and their lengths; `unpack` is the inverse.
    """
    rows = rows_of(groups)
    old = [row.old_log_probs for row in rows if row.old_log_probs is not None]
    return {
        "group_sizes": torch.tensor([len(group) for group in groups], dtype=torch.long),
        "prompt_lengths": torch.tensor([group.prompt_ids.numel() for group in groups], dtype=torch.long),
        "prompt_ids": _join([group.prompt_ids for group in groups], torch.long),
        "response_lengths": torch.tensor([row.response_ids.numel() for row in rows], dtype=torch.long),
        "response_ids": _join([row.response_ids for row in rows], torch.long),
        "response_mask": _join([row.response_mask for row in rows], torch.bool),
        "rollout_log_probs": _join([row.rollout_log_probs for row in rows], torch.float32),
        "old_log_probs": _join(old, torch.float32),
        "has_old_log_probs": torch.tensor([row.old_log_probs is not None for row in rows], dtype=torch.bool),
        "scored": torch.tensor([row.scored for row in rows], dtype=torch.bool),
        # Python floats are float64 and integers may be large; float64 and long tensors keep them exactly.
        "numbers": torch.tensor([[row.advantage, row.reward] for row in rows], dtype=torch.float64),
        "counts": torch.tensor(
            [
                [
                    group.number,
                    group.policy_version,
                    -1 if row.old_version is None else row.old_version,
                    group.uses,
                    group.baseline,
                ]
                for group in groups
                for row in group.rollouts
            ],
            dtype=torch.long,
        ),
    }


def unpack(packed: dict[str, Any]) -> list[Group]:
    """Rebuild the groups, each row with its own tensors.

    Args:
        packed: the result of `pack`.

    Returns:
        The groups in their order.

    Raises:
        KeyError, RuntimeError, ValueError: the tensors are inconsistent.
    """
    lengths = packed["response_lengths"].tolist()
    responses = zip(
        _split(packed["response_ids"], lengths),
        _split(packed["response_mask"], lengths),
        _split(packed["rollout_log_probs"], lengths),
        packed["has_old_log_probs"].tolist(),
        packed["numbers"].tolist(),
        packed["counts"].tolist(),
        strict=True,
    )
    scored = iter(packed["scored"].tolist() if "scored" in packed else [True] * len(lengths))  # not in earlier ones
    has_old = packed["has_old_log_probs"].tolist()
    old_lengths = [length for length, known in zip(lengths, has_old, strict=True) if known]
    old = iter(_split(packed["old_log_probs"], old_lengths))
    sizes = packed["group_sizes"].tolist()
    prompts = _split(packed["prompt_ids"], packed["prompt_lengths"].tolist())
    if sum(sizes) != len(lengths) or len(prompts) != len(sizes) or not all(sizes):
        raise ValueError(f"groups of {sizes} rows with {len(lengths)} responses and {len(prompts)} prompts")
    groups = []
    for prompt, size in zip(prompts, sizes, strict=True):
        rows = []
        for _ in range(size):
            ids, mask, log_probs, known, (advantage, reward), counts = next(responses)
            number, version, old_version, uses, *baseline = counts  # earlier checkpoints have no baseline
            rows.append(
                Rollout(
                    response_ids=ids,
                    response_mask=mask,
                    rollout_log_probs=log_probs,
                    advantage=advantage,
                    reward=reward,
                    old_log_probs=next(old) if known else None,
                    old_version=None if old_version < 0 else old_version,
                    scored=next(scored),
                )
            )
        groups.append(Group(number, version, prompt, rows, uses, *baseline))
    return groups


def _join(tensors: list[Tensor], dtype: torch.dtype) -> Tensor:
    if not tensors:
        return torch.empty(0, dtype=dtype)
    return torch.cat([tensor.detach().to("cpu", dtype) for tensor in tensors])


def _split(tensor: Tensor, lengths: list[int]) -> list[Tensor]:
    return [part.clone() for part in torch.split(tensor, lengths)] if lengths else []
