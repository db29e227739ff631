from __future__ import annotations

from collections import deque
from typing import Any

import pytest
import torch

from r2vpo.errors import UserError
from r2vpo.learner.micro_batch import collate
from r2vpo.replay import Group
from r2vpo.trl.groups import (
    check_sampled,
    log_advantages,
    policy_versions,
    round_statistics,
    sampled_groups,
    statistics_of_trl,
    telling_rows,
    weigh_rewards,
)
from tests.unit.learner.groups import CPU, one_row


def padded() -> dict[str, torch.Tensor]:
    return {
        "prompt_ids": torch.tensor([[0, 5, 6], [0, 5, 6], [7, 8, 9], [7, 8, 9]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]),
        "completion_ids": torch.tensor([[3, 1, 0], [4, 4, 1], [3, 0, 0], [2, 1, 0]]),
        "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]]),
        "sampling_per_token_logps": torch.tensor([[-1.0, -2, 0], [-1, -2, -3], [-4, 0, 0], [-5, -6, 0]]),
    }


def groups_of(batch: dict[str, torch.Tensor], version: int = 7) -> list[Group]:
    groups, _ = sampled_groups(
        batch,
        rewards=torch.tensor([1.0, 0, 2, 3]),
        advantages=torch.tensor([0.5, -0.5, 1, -1]),
        scored=torch.tensor([True, True, False, True]),
        group_size=2,
        versions=[version] * 4,
        first_row=20,
    )
    return groups


def test_unpadding_and_padding_again_gives_the_rows_back() -> None:
    batch = padded()
    groups = groups_of(batch)
    assert [(one.number, len(one)) for one in groups] == [(20, 2), (22, 2)]
    assert [row.scored for one in groups for row in one.rollouts] == [True, True, False, True]
    assert [r.response_ids.tolist() for one in groups for r in one.rollouts] == [[3, 1], [4, 4, 1], [3], [2, 1]]
    assert [r.advantage for one in groups for r in one.rollouts] == [0.5, -0.5, 1, -1]
    micro = collate(groups, version=9, pad_token_id=0, device=CPU)
    assert torch.equal(micro.batch.response_ids, batch["completion_ids"])
    assert torch.equal(micro.response_mask, batch["completion_mask"].bool())
    assert torch.equal(micro.rollout_log_probs, batch["sampling_per_token_logps"])
    assert micro.staleness.tolist() == [2, 2, 2, 2]
    assert micro.batch.prompt_ids.tolist() == [[0, 5, 6], [7, 8, 9]]


def test_rows_with_different_prompts_are_different_groups() -> None:
    """An environment may give the rows that share a baseline different prompts."""
    batch = padded()
    batch["prompt_ids"][1, 2] = 4
    groups = groups_of(batch)
    assert [(one.number, one.prompt_ids.tolist()) for one in groups] == [(20, [5, 6]), (21, [5, 4]), (22, [7, 8, 9])]
    assert [one.baseline for one in groups] == [20, 20, 22]


def test_tool_results_are_attended_to_but_not_trained_on() -> None:
    batch = padded() | {"tool_mask": torch.tensor([[1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]])}
    micro = collate(groups_of(batch), version=7, pad_token_id=0, device=CPU)
    assert micro.response_mask[0].tolist() == [True, False, False]
    assert micro.batch.response_mask[0].tolist() == [True, True, False]


def test_rows_without_log_probs_are_marked() -> None:
    batch = {name: value for name, value in padded().items() if name != "sampling_per_token_logps"}
    assert all(torch.isnan(r.rollout_log_probs).all() for one in groups_of(batch) for r in one.rollouts)


def test_logged_advantages_are_those_trained_on() -> None:
    log = deque([9.0, 1.0, 2.0], maxlen=4)
    log_advantages(log, torch.tensor([-0.5, 0.5]))
    assert list(log) == [9.0, -0.5, 0.5]


def test_an_old_row_without_log_probs_is_refused() -> None:
    one = one_row(0, 2, version=1)
    one.rollouts[0].rollout_log_probs = torch.full((2,), torch.nan)
    check_sampled([one], 1)
    with pytest.raises(UserError, match="no logprobs for rows that were sampled 2 versions ago"):
        check_sampled([one], 3)


def test_rows_without_a_score_have_no_advantage_and_no_weight_in_the_baseline() -> None:
    nan = float("nan")
    scores = torch.tensor([[1.0, 2.0], [3.0, nan], [nan, nan], [nan, 4.0]])
    rewards, advantages = weigh_rewards(scores, torch.tensor([1.0, 0.5]), group_size=4, estimator="dr_grpo")
    mean = (2.0 + 3.0 + 2.0) / 3
    torch.testing.assert_close(rewards, torch.tensor([2.0, 3.0, mean, 2.0]))
    torch.testing.assert_close(advantages, torch.tensor([2.0 - mean, 3.0 - mean, 0.0, 2.0 - mean]))


def test_what_trl_measured_of_the_last_round_is_kept():
    logged = {
        "completions/max_length": [3.0, 9.0],
        "completions/clipped_ratio": [0.5, 0.125],
        "completions/mean_length": [7.0],
        "rewards/exact/mean": [0.5],
        "rewards/exact/std": [0.25],
        "rewards/format/mean": [0.375],
        "rewards/format/std": [0.0],
    }
    assert statistics_of_trl(logged, ["exact", "format"]) == {
        "completion_length_max": 9.0,
        "completion_truncated": 0.125,
        "rewards/exact/mean": 0.5,
        "rewards/exact/std": 0.25,
        "rewards/format/mean": 0.375,
        "rewards/format/std": 0.0,
    }


@pytest.mark.parametrize("value", ["3", 3.0, True, None])
def test_a_policy_version_is_a_whole_number(value: Any) -> None:
    assert policy_versions([{"policy_version": 3}, {"policy_version": torch.tensor(4)}]) == [3, 4]
    with pytest.raises(UserError, match=r"row 1 a policy_version of .*, but it must be a whole number"):
        policy_versions([{"policy_version": 3}, {"policy_version": value}])
    with pytest.raises(UserError, match=r"row 0 a policy_version of None"):
        policy_versions([{}])


def test_with_a_critic_every_scored_row_tells_something_unless_all_rewards_are_equal() -> None:
    advantages, scored = torch.tensor([0.5, -0.5, 0.0, 0.0]), torch.tensor([True, True, True, False])
    rewards = torch.tensor([1.0, 0.0, 0.3, 0.3])
    assert telling_rows(rewards, advantages, scored, critic=False).tolist() == [True, True, False, False]
    assert telling_rows(rewards, advantages, scored, critic=True).tolist() == scored.tolist()
    assert not telling_rows(torch.full((4,), 0.3), advantages, scored, critic=True).any()


def test_the_spread_of_rewards_within_and_between_groups() -> None:
    rewards = torch.tensor([1.0, 0.0, 3.0, 3.0])
    found = round_statistics(rewards, torch.tensor([True, True, False, False]), group_size=2, tokens=12, seconds=3.0)
    # The variances within the groups are 0.5 and 0, their means 0.5 and 3.
    assert found["reward_std_within"] == pytest.approx(0.25**0.5)
    assert found["reward_std_between"] == pytest.approx((2 * 1.25**2) ** 0.5)
    assert (found["reward"], found["signal"], found["completion_length"]) == (1.75, 0.5, 3.0)
    one = round_statistics(rewards[:2], torch.tensor([False] * 2), group_size=2, tokens=2, seconds=1.0)
    assert one["reward_std_between"] == 0.0
