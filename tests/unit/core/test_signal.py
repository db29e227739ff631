"""Effective number of responses and unit of the advantages, against numbers by hand."""

import math

import pytest
import torch

from r2vpo.core.signal import signal_sums

MASK = torch.tensor([[True, True, False], [True, True, True]])


def test_equal_advantages_count_every_response_whatever_its_length():
    A = torch.tensor([[0.5, 0.5, 9.0], [-0.5, -0.5, -0.5]], dtype=torch.float64)
    sums = signal_sums(A, MASK)
    assert sums.responses() == pytest.approx(2.0)
    assert sums.unit() == pytest.approx(0.5)


def test_a_satisfied_pair_hardly_counts():
    # Mean sizes 1 and 0.1: (1.1)^2 / (1 + 0.01).
    A = torch.tensor([[1.0, 1.0, 0.0], [0.1, -0.1, 0.1]], dtype=torch.float64)
    assert signal_sums(A, MASK).responses() == pytest.approx(1.21 / 1.01)
    assert signal_sums(A, MASK).unit() == pytest.approx(math.sqrt((2 + 0.03) / 5))


def test_sums_of_micro_batches_add_up():
    A = torch.randn(6, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    mask = MASK.repeat(3, 1)
    whole, parts = signal_sums(A, mask), signal_sums(A[:2], mask[:2]) + signal_sums(A[2:], mask[2:])
    assert parts.responses() == pytest.approx(whole.responses(), rel=1e-12)
    assert parts.unit() == pytest.approx(whole.unit(), rel=1e-12)


def test_without_an_advantage_there_is_no_response_and_the_unit_is_one():
    sums = signal_sums(torch.zeros(2, 3), MASK)
    assert (sums.responses(), sums.unit()) == (0.0, 1.0)
