"""Sums that are divided once."""

import dataclasses

import pytest
import torch

from r2vpo.core.types import MomentSums, RatioVarianceSums


def sums(kind, numerator, denominator):
    return kind(torch.tensor(numerator), torch.tensor(denominator))


@pytest.mark.parametrize("kind", [RatioVarianceSums, MomentSums])
def test_they_add_up_and_divide_once(kind):
    total = sums(kind, 1.0, 2.0) + sums(kind, 5.0, 1.0) + kind.zero()
    assert isinstance(total, kind)
    assert total.value().item() == 2.0
    assert (0.5 + 5.0) / 2 != 2.0  # what a mean of means would have been


@pytest.mark.parametrize("kind", [RatioVarianceSums, MomentSums])
def test_through_a_tensor_and_back(kind):
    tensor = sums(kind, 3.0, 4.0).to_tensor()
    assert tensor.tolist() == [3.0, 4.0]
    assert kind.from_tensor(2 * tensor).value().item() == 0.75
    with pytest.raises(ValueError, match=r"must be \(2,\)"):
        kind.from_tensor(torch.zeros(3))


def test_nothing_measured_is_zero():
    assert RatioVarianceSums.zero().value().item() == 0.0
    assert RatioVarianceSums.zero("meta").numerator.device.type == "meta"


def test_they_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        RatioVarianceSums.zero().numerator = torch.ones(())
