from __future__ import annotations

import math
from collections import deque

import pytest
import torch

from r2vpo.errors import UserError
from r2vpo.replay import Rollout, last_round_movement
from r2vpo.trl.rounds import (
    check_sampled,
    log_advantages,
    part_means,
    remember_policy,
    round_moments,
    set_normalizers,
    weigh_rewards,
)
from r2vpo.trl.rows import collate, cut, fresh_rollouts, in_parts
from r2vpo.trl.state import pack_round, unpack_round

CPU = torch.device("cpu")


def rollout(group: int, length: int, *, advantage: float = 1.0, version: int = 2, prompt: int = 3) -> Rollout:
    torch.manual_seed(group * 100 + length)
    return Rollout(
        prompt_ids=torch.arange(2, 2 + prompt) + group,
        response_ids=torch.randint(2, 10, (length,)),
        response_mask=torch.ones(length, dtype=torch.bool),
        rollout_log_probs=-torch.rand(length),
        advantage=advantage,
        reward=0.5,
        group=group,
        policy_version=version,
    )


def padded() -> dict[str, torch.Tensor]:
    return {
        "prompt_ids": torch.tensor([[0, 5, 6], [0, 5, 6], [7, 8, 9], [7, 8, 9]]),
        "prompt_mask": torch.tensor([[0, 1, 1], [0, 1, 1], [1, 1, 1], [1, 1, 1]]),
        "completion_ids": torch.tensor([[3, 1, 0], [4, 4, 1], [3, 0, 0], [2, 1, 0]]),
        "completion_mask": torch.tensor([[1, 1, 0], [1, 1, 1], [1, 0, 0], [1, 1, 0]]),
        "sampling_per_token_logps": torch.tensor([[-1.0, -2, 0], [-1, -2, -3], [-4, 0, 0], [-5, -6, 0]]),
    }


def test_unpadding_and_padding_again_gives_the_rows_back() -> None:
    batch = padded()
    rows = fresh_rollouts(
        batch,
        rewards=torch.tensor([1.0, 0, 2, 3]),
        advantages=torch.tensor([0.5, -0.5, 1, -1]),
        group_size=2,
        versions=[7] * 4,
        first_group=10,
    )
    assert [r.group for r in rows] == [10, 10, 11, 11]
    assert [r.response_ids.tolist() for r in rows] == [[3, 1], [4, 4, 1], [3], [2, 1]]
    micro = collate(rows, version=9, pad_token_id=0, device=CPU)
    assert torch.equal(micro.prompt_ids, batch["prompt_ids"])
    assert torch.equal(micro.prompt_mask, batch["prompt_mask"].bool())
    assert torch.equal(micro.response_ids, batch["completion_ids"])
    assert torch.equal(micro.response_mask, batch["completion_mask"].bool())
    assert torch.equal(micro.rollout_log_probs, batch["sampling_per_token_logps"])
    assert micro.staleness.tolist() == [2, 2, 2, 2]
    assert micro.prefix_batch().prompt_ids.tolist() == [[0, 5, 6], [7, 8, 9]]


def test_tool_results_are_attended_to_but_not_trained_on() -> None:
    batch = padded() | {"tool_mask": torch.tensor([[1, 0, 1], [1, 1, 1], [1, 1, 1], [1, 1, 1]])}
    rows = fresh_rollouts(
        batch, rewards=torch.zeros(4), advantages=torch.zeros(4), group_size=2, versions=[0] * 4, first_group=0
    )
    micro = collate(rows, version=0, pad_token_id=0, device=CPU)
    assert micro.response_mask[0].tolist() == [True, False, False]
    assert micro.attention_mask[0].tolist() == [True, True, False]


def test_a_sampler_without_log_probs_takes_the_trainers() -> None:
    batch = {name: value for name, value in padded().items() if name != "sampling_per_token_logps"}
    rows = fresh_rollouts(
        batch, rewards=torch.zeros(4), advantages=torch.zeros(4), group_size=2, versions=[3] * 4, first_group=0
    )
    assert all(torch.isnan(r.rollout_log_probs).all() for r in rows)
    micro = collate(rows, version=3, pad_token_id=0, device=CPU)
    log_probs = torch.full((4, 3), -0.25)
    remember_policy(micro, log_probs, version=3)
    assert all((r.rollout_log_probs == -0.25).all() for r in rows)
    assert (micro.rollout_log_probs[micro.attention_mask] == -0.25).all()
    assert rows[1].old_log_probs is not None and rows[1].old_version == 3


def test_groups_stay_together_and_every_row_comes_once() -> None:
    rows = [rollout(group, 2) for group in range(6) for _ in range(4)]
    parts = cut(rows, 3, generator=torch.Generator().manual_seed(0))
    assert [len(part) for part in parts] == [8, 8, 8]
    assert sorted(id(r) for part in parts for r in part) == sorted(id(r) for r in rows)
    assert all(len({r.group for r in part}) == 2 for part in parts)
    other = cut(rows, 3, generator=torch.Generator().manual_seed(1))
    assert [r.group for part in parts for r in part] != [r.group for part in other for r in part]


def test_every_part_has_the_same_mixture_of_ages() -> None:
    rows = [rollout(group, 2, version=3 if group < 8 else 1) for group in range(16) for _ in range(2)]
    for seed in range(5):
        parts = cut(rows, 4, generator=torch.Generator().manual_seed(seed))
        stale = [sum(r.policy_version == 1 for r in part) for part in parts]
        assert max(stale) - min(stale) <= 2, stale


def test_stale_and_fresh_groups_of_one_number_are_told_apart() -> None:
    rows = [rollout(1, 2, version=2), rollout(1, 3, version=1), rollout(1, 2, version=2)]
    (part,) = cut(rows, 1, generator=torch.Generator().manual_seed(0))
    versions = [r.policy_version for r in part]
    assert versions in ([2, 2, 1], [1, 2, 2])


def test_a_micro_batch_comes_apart_by_advantage() -> None:
    rows = [rollout(0, 4), rollout(1, 2, advantage=0.0), rollout(0, 3), rollout(1, 5, advantage=0.0)]
    trained, watched = in_parts(collate(rows, version=2, pad_token_id=0, device=CPU), pad_token_id=0, processes=1)
    assert (trained.trained, trained.places.tolist()) == (True, [0, 2])
    assert (watched.trained, watched.places.tolist()) == (False, [1, 3])
    assert watched.micro.response_ids.shape == (2, 5)


@pytest.mark.parametrize(
    ("advantage", "processes", "kinds"),
    [(0.0, 1, [True, False]), (0.0, 2, [True, False]), (1.0, 1, [True]), (1.0, 2, [True, False])],
)
def test_processes_stay_in_step_by_idle_rows(advantage: float, processes: int, kinds: list[bool]) -> None:
    rows = [rollout(0, 4, advantage=advantage), rollout(0, 2, advantage=advantage)]
    micro = collate(rows, version=2, pad_token_id=0, device=CPU)
    parts = in_parts(micro, pad_token_id=0, processes=processes)
    assert [part.trained for part in parts] == kinds, "every micro-batch has a backward pass"
    for part in parts:
        if part.trained != (advantage != 0):
            assert part.places.numel() == 0
            assert not part.micro.response_mask.any()
            assert part.micro.response_ids.shape == (1, 2), "the shortest row is the cheapest"


def micros(sizes: list[list[int]]) -> list:
    return [
        collate([rollout(i, n) for i, n in enumerate(lengths)], version=2, pad_token_id=0, device=CPU)
        for lengths in sizes
    ]


def test_normalizers_are_those_of_the_optimizer_step() -> None:
    parts = micros([[1, 2], [3], [4], [5, 1]])
    set_normalizers(parts, per_step=2, by_tokens=True, total=lambda t: t)
    assert [float(p.normalizer) for p in parts] == [6, 6, 10, 10]
    set_normalizers(parts, per_step=2, by_tokens=False, total=lambda t: 3 * t)
    assert [float(p.normalizer) for p in parts] == [9, 9, 9, 9]


def test_moments_weigh_rows_as_the_objective_does() -> None:
    row = rollout(0, 2, advantage=3.0)
    row.rollout_log_probs = torch.tensor([-1.0, -1.0])
    micro = collate([row], version=2, pad_token_id=0, device=CPU)
    micro.old_log_probs = torch.tensor([[-1.0, -1.0 + torch.log(torch.tensor(1.5))]])
    weighted = round_moments([micro], anchor="proximal", cap=2.0, level="token")
    p = math.exp(-1.0)
    decided = (1 - p + 0.001) + 1.5 * (1 - 1.5 * p + 0.001)
    torch.testing.assert_close(weighted.to_tensor(), torch.tensor([9.0 * 2.5, decided]))
    plain = round_moments([micro], anchor="behavior", cap=2.0, level="token")
    torch.testing.assert_close(plain.to_tensor(), torch.tensor([18.0, 2 * (1 - p + 0.001)]))


def test_moments_at_the_level_of_responses_weigh_by_the_response() -> None:
    """The weight of a response is the geometric mean of its tokens': sqrt(1 x 1.44) = 1.2 on both of them."""
    rows = [rollout(0, 2, advantage=3.0), rollout(1, 2, advantage=1.0)]
    for row in rows:
        row.rollout_log_probs = torch.tensor([-1.0, -1.0])
    micro = collate(rows, version=2, pad_token_id=0, device=CPU)
    micro.old_log_probs = torch.tensor([[-1.0, -1.0 + torch.log(torch.tensor(1.44))], [-1.0, -1.0]])
    weighted = round_moments([micro], anchor="proximal", cap=2.0, level="response")
    p = math.exp(-1.0)
    decided = 1.2 * (2 - 2.44 * p + 0.002) / 2 + (1 - p + 0.001)
    torch.testing.assert_close(weighted.to_tensor(), torch.tensor([9.0 * 2.4 + 2.0, decided]))


def test_logged_advantages_are_those_trained_on() -> None:
    log = deque([9.0, 1.0, 2.0], maxlen=4)
    log_advantages(log, torch.tensor([-0.5, 0.5]))
    assert list(log) == [9.0, -0.5, 0.5]


def test_an_old_row_without_log_probs_is_refused() -> None:
    row = rollout(0, 2, version=1)
    row.rollout_log_probs = torch.full((2,), torch.nan)
    check_sampled([row], 1)
    with pytest.raises(UserError, match="no logprobs for rows that were sampled 2 versions ago"):
        check_sampled([row], 3)


def test_rows_without_a_score_have_no_advantage_and_no_weight_in_the_baseline() -> None:
    nan = float("nan")
    scores = torch.tensor([[1.0, 2.0], [3.0, nan], [nan, nan], [nan, 4.0]])
    rewards, advantages = weigh_rewards(scores, torch.tensor([1.0, 0.5]), group_size=4, estimator="dr_grpo")
    mean = (2.0 + 3.0 + 2.0) / 3
    torch.testing.assert_close(rewards, torch.tensor([2.0, 3.0, mean, 2.0]))
    torch.testing.assert_close(advantages, torch.tensor([2.0 - mean, 3.0 - mean, 0.0, 2.0 - mean]))


def test_the_last_rounds_movement_comes_from_rows_seen_twice() -> None:
    seen, unseen = rollout(0, 2), rollout(1, 2)
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


def test_a_round_in_progress_survives_packing() -> None:
    parts = micros([[1, 2], [3]])
    set_normalizers(parts, per_step=1, by_tokens=True, total=lambda t: t)
    for part in parts:
        remember_policy(part, -torch.rand(part.response_ids.shape), version=2)
    again = unpack_round(pack_round(parts), version=2, per_step=1, pad_token_id=0, device=CPU)
    for part, copy in zip(parts, again, strict=True):
        assert float(part.normalizer) == float(copy.normalizer)
        for name in (
            "prompt_ids",
            "response_ids",
            "response_mask",
            "advantages",
            "rollout_log_probs",
            "staleness",
        ):
            assert torch.equal(getattr(part, name), getattr(copy, name)), name
        mask = part.attention_mask
        assert torch.equal(part.old_log_probs[mask], copy.old_log_probs[mask])


def test_each_part_has_its_mean_over_the_rows_that_it_scored():
    scores = torch.tensor([[1.0, 0.5], [0.0, torch.nan], [0.0, 0.25], [1.0, torch.nan]])
    assert part_means(scores, ["exact", "format"]) == {"rewards/exact/mean": 0.5, "rewards/format/mean": 0.375}
