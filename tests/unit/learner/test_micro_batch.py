from __future__ import annotations

import pytest
import torch

from r2vpo.learner.micro_batch import collate, cut, in_parts, set_normalizers
from r2vpo.replay import Group
from r2vpo.replay.group import rows_of
from tests.unit.learner.groups import CPU, group, row


def test_each_prompt_comes_once_and_keeps_its_rows() -> None:
    groups = [group(0, [2, 3]), group(1, [1]), Group(9, 1, torch.arange(2, 5), [row(4)])]
    micro = collate(groups, version=4, pad_token_id=0, device=CPU)
    assert micro.batch.prompt_ids.tolist() == [[2, 3, 4], [3, 4, 5]], "the stale group has the first one's prompt"
    assert micro.batch.group_index.tolist() == [0, 0, 1, 0]
    assert micro.staleness.tolist() == [2, 2, 2, 3]
    assert [len(ids) for ids in micro.batch.response_ids] == [4, 4, 4, 4]
    for place, rollout in enumerate(rows_of(groups)):
        size = len(rollout.response_ids)
        assert torch.equal(micro.batch.response_ids[place, :size], rollout.response_ids)
        assert torch.equal(micro.rollout_log_probs[place, :size], rollout.rollout_log_probs)
        assert micro.response_mask[place].tolist() == [True] * size + [False] * (4 - size)


def test_prompts_of_different_lengths_are_padded_on_the_left() -> None:
    groups = [Group(0, 0, torch.tensor([5, 6]), [row(1)]), Group(1, 0, torch.tensor([7, 8, 9]), [row(1)])]
    micro = collate(groups, version=0, pad_token_id=0, device=CPU)
    assert micro.batch.prompt_ids.tolist() == [[0, 5, 6], [7, 8, 9]]
    assert micro.batch.prompt_mask.tolist() == [[False, True, True], [True, True, True]]


def test_groups_stay_together_and_every_row_comes_once() -> None:
    groups = [group(number, [2] * 4) for number in range(6)]
    parts = cut(groups, 3, generator=torch.Generator().manual_seed(0))
    assert [len(rows_of(part)) for part in parts] == [8, 8, 8]
    assert sorted(id(r) for part in parts for r in rows_of(part)) == sorted(id(r) for r in rows_of(groups))
    assert all(len(part) == 2 for part in parts)
    other = cut(groups, 3, generator=torch.Generator().manual_seed(1))
    assert [one.number for part in parts for one in part] != [one.number for part in other for one in part]


def test_groups_of_one_baseline_stay_together() -> None:
    groups = [
        Group(number, 2 - number % 2, torch.tensor([number]), [row(2)], baseline=number // 4 * 4)
        for number in range(16)
    ]
    for seed in range(5):
        parts = cut(groups, 4, generator=torch.Generator().manual_seed(seed))
        assert [len({one.baseline for one in part}) for part in parts] == [1, 1, 1, 1]
        assert sorted(one.number for part in parts for one in part) == list(range(16))


def test_a_group_that_a_cut_divides_keeps_prompt_and_order() -> None:
    groups = [group(number, [2] * 4) for number in range(3)]
    parts = cut(groups, 4, generator=torch.Generator().manual_seed(0))
    assert [[len(one) for one in part] for part in parts] == [[3], [1, 2], [2, 1], [3]]
    (order,) = cut(groups, 1, generator=torch.Generator().manual_seed(0))
    assert [id(r) for part in parts for r in rows_of(part)] == [id(r) for r in rows_of(order)]
    assert all(torch.equal(one.prompt_ids, torch.arange(2, 5) + one.number) for part in parts for one in part)


def test_every_part_has_the_same_mixture_of_ages() -> None:
    groups = [group(number, [2, 2], version=3 if number < 8 else 1) for number in range(16)]
    for seed in range(5):
        parts = cut(groups, 4, generator=torch.Generator().manual_seed(seed))
        stale = [sum(len(one) for one in part if one.policy_version == 1) for part in parts]
        assert max(stale) - min(stale) <= 2, stale


def test_a_micro_batch_comes_apart_by_advantage() -> None:
    first = Group(0, 2, torch.arange(3), [row(4), row(2, advantage=0.0)])
    second = Group(1, 2, torch.arange(3) + 1, [row(3), row(5, advantage=0.0)])
    micro = collate([first, second], version=2, pad_token_id=0, device=CPU)
    trained, watched = in_parts(micro, pad_token_id=0, processes=1)
    assert (trained.trained, trained.places.tolist()) == (True, [0, 2])
    assert (watched.trained, watched.places.tolist()) == (False, [1, 3])
    assert watched.micro.batch.response_ids.shape == (2, 5)
    assert watched.micro.batch.prompt_ids.shape == (2, 3)


@pytest.mark.parametrize(
    ("advantage", "processes", "kinds"),
    [(0.0, 1, [True, False]), (0.0, 2, [True, False]), (1.0, 1, [True]), (1.0, 2, [True, False])],
)
def test_processes_stay_in_step_by_idle_rows(advantage: float, processes: int, kinds: list[bool]) -> None:
    one = Group(0, 2, torch.arange(3), [row(4, advantage=advantage), row(2, advantage=advantage)])
    micro = collate([one], version=2, pad_token_id=0, device=CPU)
    parts = in_parts(micro, pad_token_id=0, processes=processes)
    assert [part.trained for part in parts] == kinds, "every micro-batch has a backward pass"
    for part in parts:
        if part.trained != (advantage != 0):
            assert part.places.numel() == 0
            assert not part.micro.response_mask.any()
            assert part.micro.batch.response_ids.shape == (1, 2), "the shortest row is the cheapest"


def test_normalizers_are_those_of_the_optimizer_step() -> None:
    parts = [
        collate([group(0, lengths)], version=2, pad_token_id=0, device=CPU) for lengths in ([1, 2], [3], [4], [5, 1])
    ]
    set_normalizers(parts, per_step=2, by_tokens=True, total=lambda t: t)
    assert [float(p.normalizer) for p in parts] == [6, 6, 10, 10]
    set_normalizers(parts, per_step=2, by_tokens=False, total=lambda t: 3 * t)
    assert [float(p.normalizer) for p in parts] == [9, 9, 9, 9]
