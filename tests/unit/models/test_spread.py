"""Weights spread within the spacing of bfloat16: small moves, the same ones every time, and no cliff."""

from __future__ import annotations

import torch

from r2vpo.models.convert import spread_within_bfloat16


def halfway_weights(rows: int = 200, columns: int = 100) -> torch.Tensor:
    """Every weight exactly between two bfloat16 numbers, as de-quantised ones often are."""
    torch.manual_seed(7)  # not the seed of the spreading: its numbers would go with these
    grid = torch.randn(rows, columns).bfloat16().float()
    return grid + spacing(grid) / 2


def spacing(weights: torch.Tensor) -> torch.Tensor:
    """Distance of bfloat16 numbers at a weight, by stepping its bits."""
    low = (weights.view(torch.int32) & ~0xFFFF).view(torch.float32)
    high = ((weights.view(torch.int32) & ~0xFFFF) + 0x10000).view(torch.float32)
    return (high - low).abs() * weights.sign()


def tipped(weights: torch.Tensor, step: float) -> float:
    """Share of weights that round to another bfloat16 number after a step either way."""
    return ((weights + step).bfloat16() != (weights - step).bfloat16()).float().mean().item()


def module(weights: torch.Tensor) -> torch.nn.Module:
    linear = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=False)
    with torch.no_grad():
        linear.weight.copy_(weights)
    return linear


def test_a_small_step_no_longer_tips_every_weight() -> None:
    weights = halfway_weights()
    assert tipped(weights, 1e-6) == 1.0
    linear = module(weights)
    spread_within_bfloat16(linear)
    assert tipped(linear.weight.detach(), 1e-6) < 0.01


def test_no_weight_moves_by_more_than_half_the_spacing() -> None:
    weights = halfway_weights()
    linear = module(weights)
    spread_within_bfloat16(linear)
    moved = (linear.weight.detach() - weights).abs() / spacing(weights).abs()
    assert moved.max() <= 0.5 + 1e-3
    assert 0.2 < moved.mean() < 0.3
    assert abs((linear.weight.detach() - weights).mean()) < 1e-4


def test_zero_stays_zero_and_the_same_weights_come_every_time() -> None:
    weights = halfway_weights()
    weights[0] = 0.0
    first, second = module(weights), module(weights)
    spread_within_bfloat16(first)
    spread_within_bfloat16(second)
    assert torch.equal(first.weight, second.weight)
    assert (first.weight[0] == 0).all()
