"""Effective number of responses and unit of the advantages, against numbers by hand; options that are refused."""

import math

import pytest
import torch

from r2vpo.core.preferences import PreferenceOptions, braked, loss_advantages, signal_sums

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


def test_padding_has_no_advantage_and_a_loss_without_gradient_has_none():
    leaf = torch.zeros(2, 3, requires_grad=True)
    found = loss_advantages(leaf.sum() / 4, leaf, MASK, 4)
    assert found.tolist() == [[-1.0, -1.0, 0.0], [-1.0, -1.0, -1.0]]
    assert not loss_advantages(torch.tensor(1.0), leaf, MASK, 4).any()
    assert not loss_advantages(torch.zeros(1, requires_grad=True).sum(), leaf, MASK, 4).any()


def test_the_brake_by_hand():
    A, moved = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0]), torch.tensor([0.25, 2.0, -0.5, -0.25, 0.5])
    # r* is 2 and 0: a quarter of the way, beyond it, against it; the same downwards.
    assert braked(A, moved, 0.5).tolist() == [0.75, 0.0, 1.0, -0.75, -1.0]
    assert braked(A, moved, 0.5, "two_sided").tolist() == [0.75, -1.0, 1.5, -0.75, -1.5]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"link": "jsd"}, "link is 'jsd'; choose one of kl, chi_square, chi_po"),
        ({"delta": 0.0}, "delta is 0; it must be at least 1e-09"),
        ({"reward_bound": 0.0}, "reward_bound is 0; it must be above 0"),
        ({"steps_per_round": 0}, "steps_per_round is 0; it must be at least 1"),
        ({"brake": "inward"}, "brake is 'inward'; choose one of outward, two_sided"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        PreferenceOptions(**options)
