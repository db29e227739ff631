from __future__ import annotations

import math

import torch

from r2vpo.replay import last_round_movement
from tests.unit.learner.groups import CPU, row


def test_the_last_rounds_movement_comes_from_rows_seen_twice() -> None:
    seen, unseen = row(2), row(2, seed=1)
    before = torch.tensor([-1.0, -2.0])
    seen.remember_old_log_probs(before + torch.log(torch.tensor([1.2, 0.9])), 3)
    unseen.remember_old_log_probs(before, 3)
    # The policy had half the sampler's probability for the first token, and three times it for the second.
    seen.rollout_log_probs = before - torch.log(torch.tensor([0.5, 3.0]))
    sums = last_round_movement([seen, unseen], {id(seen): before}, cap=2.0, device=CPU)
    decided = 0.5 * (1 - math.exp(-1.0) + 0.001) + 2.0 * (1 - math.exp(-2.0) + 0.001)
    up, down = (2 * (ratio - 1 - math.log(ratio)) for ratio in (1.2, 0.9))
    torch.testing.assert_close(sums.to_tensor(), torch.tensor([0.5 * up + 2.0 * down, decided]))
    assert last_round_movement([unseen], {}, cap=2.0, device=CPU).to_tensor().tolist() == [0.0, 0.0]
