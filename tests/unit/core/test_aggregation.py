"""Aggregation by hand, with and without a global denominator."""

import pytest
import torch

from r2vpo.core.aggregation import aggregate
from r2vpo.core.masking import masked_mean, masked_sum, token_advantages
from r2vpo.core.objective_config import check_aggregation

NAN = float("nan")
VALUES = torch.tensor([[1.0, 2.0, 6.0], [4.0, NAN, NAN], [NAN, NAN, NAN]])
MASK = torch.tensor([[True, True, True], [True, False, False], [False, False, False]])


@pytest.mark.parametrize(
    ("aggregation", "constant", "own", "normalizer", "given"),
    [
        ("token_mean", None, 13 / 4, 26, 0.5),
        ("sequence_mean", None, (3 + 4) / 2, 14, 0.5),  # two responses; the empty row is none
        ("constant", 10, 13 / 10 / 2, 4, 13 / 10 / 4),
    ],
)
def test_by_hand(aggregation, constant, own, normalizer, given):
    options = {"aggregation": aggregation, "constant": constant}
    assert aggregate(VALUES, MASK, **options).item() == pytest.approx(own)
    assert aggregate(VALUES, MASK, normalizer=normalizer, **options).item() == pytest.approx(given)
    tensor = torch.tensor(float(normalizer))
    assert aggregate(VALUES, MASK, normalizer=tensor, **options).item() == pytest.approx(given)


@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_a_batch_without_a_token_is_zero_and_has_a_gradient(aggregation):
    values = torch.full((2, 3), NAN, requires_grad=True)
    mask = torch.zeros(2, 3, dtype=torch.bool)
    result = aggregate(values, mask, aggregation=aggregation, constant=5.0)
    result.backward()
    assert result.item() == 0
    assert (values.grad == 0).all()


@pytest.mark.parametrize("normalizer", [0, -3.0, NAN])
def test_a_denominator_must_be_positive(normalizer):
    with pytest.raises(ValueError, match=r"normalizer is .*greater than 0.*global number"):
        aggregate(VALUES, MASK, normalizer=normalizer)


@pytest.mark.parametrize(
    ("aggregation", "constant", "message"),
    [
        ("constant", None, "aggregation = constant needs objective.constant"),
        ("token_mean", 5.0, "constant = 5 is only used with aggregation constant"),
    ],
)
def test_options_that_do_not_fit(aggregation, constant, message):
    with pytest.raises(ValueError, match=message):
        check_aggregation(aggregation, constant)


def test_masked_reductions():
    assert masked_sum(VALUES, MASK).item() == 13
    assert masked_sum(VALUES, MASK, dim=1).tolist() == [9, 4, 0]
    assert masked_mean(VALUES, MASK).item() == 13 / 4
    assert masked_mean(VALUES, torch.zeros_like(MASK)).item() == 0


def test_token_advantages():
    assert token_advantages(torch.tensor([1.0, 2.0, 3.0]), MASK).shape == (3, 1)
    assert token_advantages(VALUES, MASK).tolist() == [[1, 2, 6], [4, 0, 0], [0, 0, 0]]
