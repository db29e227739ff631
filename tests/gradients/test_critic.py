"""The value loss against finite differences, in float64 and off the kinks of clipping."""

import pytest
import torch

from r2vpo.core.critic.loss import value_loss


@pytest.mark.parametrize("clip", [None, 0.3])
@pytest.mark.parametrize(
    ("aggregation", "constant"), [("token_mean", None), ("sequence_mean", None), ("constant", 7.0)]
)
def test_the_value_loss(clip, aggregation, constant):
    old = torch.linspace(-1, 1, 12, dtype=torch.float64).view(3, 4)
    values = old + torch.tensor([-0.7, -0.1, 0.2, 0.6], dtype=torch.float64)
    targets = old + torch.tensor([[0.9], [-0.9], [1.1]], dtype=torch.float64)
    mask = torch.ones(3, 4, dtype=torch.bool)
    mask[1, 1:3], mask[2, 3] = False, False

    def scalar(x):
        return value_loss(
            values=x, old_values=old, targets=targets, response_mask=mask, clip=clip, aggregation=aggregation,
            constant=constant,
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(scalar, (values.requires_grad_(),))
    (gradient,) = torch.autograd.grad(scalar(values), values)
    assert (gradient[~mask] == 0).all()
    # Row 0 is drawn up: what has moved up by more than the clip has no gradient, what has moved down has one.
    assert (float(gradient[0, 3]) == 0) == (clip is not None) and float(gradient[0, 0]) < 0
