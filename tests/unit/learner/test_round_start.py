from __future__ import annotations

import math

import torch

from r2vpo.core.log_probs import TokenLogProbs
from r2vpo.core.objectives import RatioVarianceConfig
from r2vpo.learner.micro_batch import collate
from r2vpo.learner.round_start import remember_policy, round_moments
from tests.unit.learner.groups import CPU, one_row


def test_a_sampler_without_log_probs_takes_the_trainers() -> None:
    groups = [one_row(0, 2, version=3), one_row(1, 3, version=3), one_row(2, 3, version=1)]
    for one in groups[:2]:
        one.rollouts[0].rollout_log_probs.fill_(torch.nan)
    sampled = groups[2].rollouts[0].rollout_log_probs.clone()
    micro = collate(groups, version=3, pad_token_id=0, device=CPU)
    remember_policy(micro, TokenLogProbs(torch.full((3, 3), -0.25), torch.zeros(3, 3)), version=3)
    assert all((one.rollouts[0].rollout_log_probs == -0.25).all() for one in groups[:2])
    assert (micro.rollout_log_probs[:2][micro.response_mask[:2]] == -0.25).all()
    assert torch.equal(micro.rollout_log_probs[2], sampled), "a stale row keeps the sampler's"
    assert all(one.rollouts[0].old_version == 3 for one in groups)


def test_moments_weigh_rows_as_the_objective_does() -> None:
    row = one_row(0, 2, advantage=3.0)
    row.rollouts[0].rollout_log_probs = torch.tensor([-1.0, -1.0])
    micro = collate([row], version=2, pad_token_id=0, device=CPU)
    micro.old_log_probs = torch.tensor([[-1.0, -1.0 + torch.log(torch.tensor(1.5))]])
    weighted = round_moments([micro], RatioVarianceConfig(anchor="proximal"))
    p = math.exp(-1.0)
    decided = (1 - p + 0.001) + 1.5 * (1 - 1.5 * p + 0.001)
    torch.testing.assert_close(weighted.to_tensor(), torch.tensor([9.0 * 2.5, decided]))
    plain = round_moments([micro], RatioVarianceConfig(anchor="behavior"))
    torch.testing.assert_close(plain.to_tensor(), torch.tensor([18.0, 2 * (1 - p + 0.001)]))


def test_moments_at_the_level_of_responses_weigh_by_the_response() -> None:
    """The weight of a response is the geometric mean of its tokens': sqrt(1 x 1.44) = 1.2 on both of them."""
    rows = [one_row(0, 2, advantage=3.0), one_row(1, 2, advantage=1.0)]
    for row in rows:
        row.rollouts[0].rollout_log_probs = torch.tensor([-1.0, -1.0])
    micro = collate(rows, version=2, pad_token_id=0, device=CPU)
    micro.old_log_probs = torch.tensor([[-1.0, -1.0 + torch.log(torch.tensor(1.44))], [-1.0, -1.0]])
    weighted = round_moments([micro], RatioVarianceConfig(level="response"))
    p = math.exp(-1.0)
    decided = 1.2 * (2 - 2.44 * p + 0.002) / 2 + (1 - p + 0.001)
    torch.testing.assert_close(weighted.to_tensor(), torch.tensor([9.0 * 2.4 + 2.0, decided]))
