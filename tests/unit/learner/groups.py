"""Hand-made groups."""

from __future__ import annotations

import torch

from r2vpo.replay import Group, Rollout

CPU = torch.device("cpu")


def row(length: int, *, advantage: float = 1.0, seed: int = 0) -> Rollout:
    """Return a response of random tokens."""
    torch.manual_seed(seed)
    ids, mask = torch.randint(2, 10, (length,)), torch.ones(length, dtype=torch.bool)
    return Rollout(ids, mask, -torch.rand(length), advantage, reward=0.5)


def one_row(number: int, length: int, *, advantage: float = 1.0, version: int = 2) -> Group:
    """Return a group with one response."""
    rows = [row(length, advantage=advantage, seed=number * 100 + length)]
    return Group(number, version, torch.arange(2, 5) + number, rows)


def group(number: int, lengths: list[int], *, version: int = 2) -> Group:
    """Return a group with responses of these lengths."""
    rows = [row(length, seed=number * 100 + place) for place, length in enumerate(lengths)]
    return Group(number, version, torch.arange(2, 5) + number, rows)
