"""The brake on the gradient, against numbers by hand."""

import torch

from r2vpo.core.preferences import braked


def test_the_brake_by_hand():
    A, moved = torch.tensor([1.0, 1.0, 1.0, -1.0, -1.0]), torch.tensor([0.25, 2.0, -0.5, -0.25, 0.5])
    # r* is 2 and 0: a quarter of the way, beyond it, against it; the same downwards.
    assert braked(A, moved, 0.5).tolist() == [0.75, 0.0, 1.0, -0.75, -1.0]
    assert braked(A, moved, 0.5, "two_sided").tolist() == [0.75, -1.0, 1.5, -0.75, -1.5]
