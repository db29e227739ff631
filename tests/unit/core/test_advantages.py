"""Advantages against numbers worked by hand."""

import math

import pytest
import torch

from r2vpo.core.advantages import ADVANTAGES, dr_grpo, grpo, reinforce_pp, rloo
from tests.tolerances import FLOAT32

GROUP_RELATIVE = [grpo, dr_grpo, rloo]


def close(result, expected):
    torch.testing.assert_close(result, torch.tensor(expected), **FLOAT32)


# Two groups of three: 1, 2, 6 (mean 3, squares 4 + 1 + 9 = 14, std sqrt 7)
# and 0, 0, 3 (mean 1, squares 1 + 1 + 4 = 6, std sqrt 3).
REWARDS = torch.tensor([1.0, 2.0, 6.0, 0.0, 0.0, 3.0])


def test_grpo_by_hand():
    a, b = math.sqrt(7) + 1e-4, math.sqrt(3) + 1e-4
    close(grpo(REWARDS, group_size=3), [-2 / a, -1 / a, 3 / a, -1 / b, -1 / b, 2 / b])


def test_dr_grpo_by_hand():
    close(dr_grpo(REWARDS, group_size=3), [-2.0, -1.0, 3.0, -1.0, -1.0, 2.0])


def test_rloo_by_hand():
    # 1 - (2 + 6) / 2 = -3; 2 - (1 + 6) / 2 = -1.5; 6 - (1 + 2) / 2 = 4.5.
    close(rloo(REWARDS, group_size=3), [-3.0, -1.5, 4.5, -1.5, -1.5, 3.0])


def test_reinforce_pp_by_hand():
    # Mean 2; squares 1 + 0 + 16 + 4 + 4 + 1 = 26; std sqrt(26 / 5).
    s = math.sqrt(5.2) + 1e-4
    close(reinforce_pp(REWARDS, group_size=3), [-1 / s, 0.0, 4 / s, -2 / s, -2 / s, 1 / s])


@pytest.mark.parametrize("estimate", GROUP_RELATIVE)
def test_groups_in_any_order(estimate):
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    ids = torch.tensor([7, 7, 7, -2, -2, -2])[order]
    torch.testing.assert_close(
        estimate(REWARDS[order], group_ids=ids), estimate(REWARDS, group_size=3)[order], **FLOAT32
    )


@pytest.mark.parametrize("estimate", [*GROUP_RELATIVE, reinforce_pp])
@pytest.mark.parametrize("reward", [0.1, 1 / 3, 1e8, -0.7])
def test_groups_without_variance_give_exactly_zero(estimate, reward):
    rewards = torch.full((21,), reward)
    assert (estimate(rewards, group_size=7) == 0).all()


@pytest.mark.parametrize("estimate", GROUP_RELATIVE)
def test_a_group_without_variance_among_others(estimate):
    rewards = torch.tensor([0.1] * 7 + [0.0] * 6 + [1.0])
    result = estimate(rewards, group_size=7)
    assert (result[:7] == 0).all()
    assert (result[7:] != 0).all()


@pytest.mark.parametrize("estimate", GROUP_RELATIVE)
def test_a_group_of_one_gives_zero(estimate):
    assert estimate(torch.tensor([5.0, 0.0, 1.0]), group_ids=torch.tensor([9, 4, 4]))[0] == 0


def test_integer_rewards():
    close(dr_grpo(torch.tensor([0, 1]), group_size=2), [-0.5, 0.5])


@pytest.mark.parametrize("name", ADVANTAGES)
@pytest.mark.parametrize(
    ("rewards", "arguments", "message"),
    [
        (torch.tensor([1.0, float("nan")]), {"group_size": 2}, "finite: fix the reward function"),
        (torch.ones(2, 2), {"group_size": 2}, r"must be \(B,\)"),
        (torch.ones(5), {"group_size": 2}, "group_size is 2 for 5 rewards.*divide them"),
        (torch.ones(4), {}, "exactly one is needed"),
        (torch.ones(4), {"group_size": 2, "group_ids": torch.zeros(4)}, "exactly one is needed"),
        (torch.ones(4), {"group_ids": torch.zeros(3)}, "group_ids has shape"),
        (torch.ones(4), {"group_size": 0}, "group_size is 0"),
    ],
)
def test_bad_input_is_refused(name, rewards, arguments, message):
    with pytest.raises(ValueError, match=message):
        ADVANTAGES[name](rewards, **arguments)


@pytest.mark.parametrize("estimate", GROUP_RELATIVE)
def test_one_response_has_nothing_to_be_compared_with(estimate):
    with pytest.raises(ValueError, match="group_size is 1"):
        estimate(torch.ones(4), group_size=1)
