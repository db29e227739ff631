"""The gradient of a loss as advantages."""

import torch

from r2vpo.core.preferences import loss_advantages

MASK = torch.tensor([[True, True, False], [True, True, True]])


def test_padding_has_no_advantage_and_a_loss_without_gradient_has_none():
    leaf = torch.zeros(2, 3, requires_grad=True)
    found = loss_advantages(leaf.sum() / 4, leaf, MASK, 4)
    assert found.tolist() == [[-1.0, -1.0, 0.0], [-1.0, -1.0, -1.0]]
    assert not loss_advantages(torch.tensor(1.0), leaf, MASK, 4).any()
    assert not loss_advantages(torch.zeros(1, requires_grad=True).sum(), leaf, MASK, 4).any()
