"""The buffer: what is admitted, drawn, forgotten and restored."""

import time

import pytest
import torch

from r2vpo.core.options import BufferOptions
from r2vpo.errors import UserError
from r2vpo.replay import Group, ReplayBuffer, Rollout
from r2vpo.replay.group import rows_of
from tests.unit.replay.rows import filled, group, numbers


def make(seed=0, **options):
    return ReplayBuffer(BufferOptions(**options), seed)


def test_zero_advantage_groups_are_refused_and_counted():
    buffer = make()
    admission = buffer.add([group(1, 0, advantages=[0.0] * 4), group(2, 0)])
    assert (admission.admitted, admission.zero_advantage, admission.non_finite) == (4, 4, 0)
    assert numbers(buffer.sample(8, 1)) == [2]


def test_with_a_critic_only_groups_without_a_score_are_refused():
    buffer = make()
    alike, unscored, mixed = group(1, 0, advantages=[0.0] * 4), group(2, 0), group(3, 0)
    for row in (*unscored.rollouts, *mixed.rollouts[1:]):
        row.scored = False
    admission = buffer.add([alike, unscored, mixed], critic=True)
    assert (admission.admitted, admission.zero_advantage) == (8, 4)
    other = make()
    other.load_state_dict(buffer.state_dict())
    for one in (buffer, other):
        drawn = {found.number: [row.scored for row in found.rollouts] for found in one.sample(8, 1)}
        assert drawn == {1: [True] * 4, 3: [True, False, False, False]}


def test_a_state_without_marks_of_scores_has_scored_rows():
    buffer, other = make(), make()
    buffer.add([group(1, 0)])
    state = buffer.state_dict()
    del state["groups"]["scored"]  # as earlier versions wrote it
    other.load_state_dict(state)
    assert all(row.scored for row in rows_of(other.sample(4, 1)))


def test_a_row_of_zero_advantage_stays_with_its_group():
    buffer = make()
    assert buffer.add([group(1, 0, advantages=[0.0, 0.0, 1.0, -1.0])]).admitted == 4
    assert len(rows_of(buffer.sample(4, 1))) == 4


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_non_finite_numbers_refuse_the_whole_group(bad):
    buffer = make()
    log_probs, advantages = group(1, 0), group(2, 0)
    log_probs.rollouts[2].rollout_log_probs[1] = bad
    advantages.rollouts[3].advantage = bad
    admission = buffer.add([log_probs, advantages, group(3, 0)])
    assert (admission.admitted, admission.non_finite) == (4, 8)
    assert buffer.statistics().refused["non_finite"] == 8


def test_non_finite_log_probs_outside_the_mask_do_not_matter():
    buffer, one = make(), group(1, 0)
    one.rollouts[0].rollout_log_probs[2] = float("nan")
    one.rollouts[0].response_mask[2] = False
    assert buffer.add([one]).admitted == 4


def test_versions_zero_keeps_nothing_but_counts():
    buffer = make(versions=0)
    admission = buffer.add([group(1, 0), group(2, 0, advantages=[0.0] * 4)])
    assert (admission.admitted, admission.not_kept, admission.zero_advantage) == (0, 4, 4)
    assert buffer.sample(8, 1) == [] and len(buffer) == 0
    assert make(versions=0, ratio=2.0).wanted(64) == 0


@pytest.mark.parametrize(("ratio", "fresh", "stale"), [(1.0, 128, 128), (0.5, 128, 64), (0.3, 10, 3), (0.01, 8, 0)])
def test_stale_rows_asked_for(ratio, fresh, stale):
    assert make(ratio=ratio).wanted(fresh) == stale


def test_a_row_can_be_drawn_for_exactly_versions_updates():
    buffer = make(versions=3)
    buffer.add([group(1, 0)])
    assert buffer.sample(4, 0) == []
    for version in (1, 2, 3):
        assert len(rows_of(buffer.sample(4, version))) == 4
    assert buffer.sample(4, 4) == []
    assert buffer.statistics().evicted_by_age == 4


def test_the_current_versions_own_rows_are_never_drawn():
    buffer = filled(make(), range(3))
    drawn = buffer.sample(1000, 2)
    assert {one.policy_version for one in drawn} == {0, 1}
    assert all(one.staleness(2) >= 1 for one in drawn)


def test_whole_groups_at_most_the_rows_wanted():
    buffer = filled(make(), range(4))
    for wanted, expected in [(0, 0), (3, 0), (4, 4), (11, 8), (16, 16), (10_000, 96)]:
        drawn = buffer.sample(wanted, 4)
        assert len(rows_of(drawn)) == expected
        assert all(len(one) == 4 for one in drawn) and len(set(numbers(drawn))) == len(drawn)


def test_a_group_that_does_not_fit_is_passed_over():
    buffer = make()
    buffer.add([group(1, 0, size=8), group(2, 0, size=2)])
    for _ in range(5):
        assert numbers(buffer.sample(4, 1)) == [2]


def test_a_draw_spreads_over_the_ages():
    buffer = filled(make(versions=4), range(4))
    ages = [one.staleness(4) for one in buffer.sample(32, 4)]
    assert [ages.count(age) for age in (1, 2, 3, 4)] == [2, 2, 2, 2]


def test_less_used_groups_come_first():
    buffer = filled(make(), [0], groups=6)
    first, second = numbers(buffer.sample(12, 1)), numbers(buffer.sample(12, 1))
    assert not set(first) & set(second)
    assert {one.uses for one in buffer.sample(24, 1)} == {2}
    assert buffer.statistics().mean_uses == 2.0


def test_ties_are_uniform():
    """Each of six equal groups is drawn first in about a sixth of 600 draws (5 standard deviations)."""
    counts = dict.fromkeys(range(6), 0)
    for seed in range(600):
        counts[numbers(filled(make(seed=seed), [0], size=1, advantages=[1.0]).sample(1, 1))[0]] += 1
    assert all(abs(count - 100) < 5 * (600 * 5 / 36) ** 0.5 for count in counts.values())


def test_seed_decides_the_draw():
    draws = [numbers(filled(make(seed=seed), range(4)).sample(40, 4)) for seed in (3, 3, 4)]
    assert draws[0] == draws[1] != draws[2]


def test_memory_bound_forgets_the_oldest_groups():
    one = filled(make(), [0], groups=1).statistics().bytes
    buffer = filled(make(max_megabytes=5 * one / 1e6), range(3), groups=3)
    statistics = buffer.statistics()
    assert statistics.bytes == 5 * one and statistics.groups == 5
    assert statistics.rows_by_age[:3] == [12, 8, 0]
    assert statistics.evicted_by_memory == 16
    assert 1000 not in numbers(buffer.sample(100, 3))


def test_a_group_larger_than_the_bound_is_refused():
    buffer = make(max_megabytes=500 / 1e6)
    admission = buffer.add([group(1, 0, length=100), group(2, 0, size=2)])
    assert (admission.admitted, admission.too_large) == (2, 4)


def test_bytes_count_every_tensor_once():
    # A prompt of 5 long once; four responses of 3 tokens: long, bool and twice float32 each.
    assert filled(make(), [0], groups=1).statistics().bytes == 5 * 8 + 4 * 3 * (8 + 1 + 4 + 4)


def test_rows_own_their_storage():
    wide = torch.zeros(64, 1000)
    one = group(1, 0)
    for i, row in enumerate(one.rollouts):
        row.rollout_log_probs = wide[i, :3]
    buffer = make()
    buffer.add([one])
    wide += 7
    for row in rows_of(buffer.sample(4, 1)):
        assert row.rollout_log_probs.untyped_storage().nbytes() == 12
        assert row.rollout_log_probs.tolist() == [0.0, 0.0, 0.0]


def test_old_log_probs_written_on_a_drawn_row_stay():
    buffer = filled(make(), [0], groups=1)
    for row in rows_of(buffer.sample(4, 1)):
        row.remember_old_log_probs(torch.full((3,), -0.5, dtype=torch.bfloat16), 1)
    for row in rows_of(buffer.sample(4, 2)):
        assert row.old_version == 1 and row.old_log_probs.tolist() == [-0.5] * 3
        assert row.old_log_probs.dtype == torch.float32
    with pytest.raises(ValueError, match="shape"):
        row.remember_old_log_probs(torch.zeros(4), 2)


def test_statistics():
    statistics = filled(make(versions=2), range(4), groups=2).statistics()
    assert (statistics.rows, statistics.groups, statistics.rows_by_age) == (24, 6, [8, 8, 8])
    assert (statistics.evicted_by_age, statistics.mean_uses) == (8, 0.0)


def test_wrong_groups_are_refused():
    buffer = make()
    buffer.add([group(1, 0)])
    with pytest.raises(ValueError, match="group 1 is already"):
        buffer.add([group(1, 0)])
    with pytest.raises(ValueError, match="group 2 is already"):
        buffer.add([group(2, 0), group(2, 1)])
    with pytest.raises(ValueError, match="at least 0"):
        buffer.sample(-1, 1)
    buffer.begin_version(5)
    with pytest.raises(ValueError, match="must not go back"):
        buffer.begin_version(4)
    buffer.clear()
    buffer.begin_version(0)
    assert len(buffer) == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"versions": -1}, "versions is -1; it must be at least 0"),
        ({"ratio": -0.5}, "ratio is -0.5; it must be at least 0"),
        ({"ratio": float("nan")}, "ratio is nan; it must be a finite number"),
        ({"max_megabytes": 0}, "max_megabytes is 0; it must be above 0"),
    ],
)
def test_options_out_of_bounds(options, message):
    with pytest.raises(ValueError, match=message):
        BufferOptions(**options)


def test_a_row_whose_tensors_do_not_fit_is_refused():
    with pytest.raises(ValueError, match="rollout_log_probs"):
        Rollout(torch.arange(3), torch.ones(3, dtype=torch.bool), torch.zeros(2), 1.0, 1.0)
    with pytest.raises(ValueError, match="one dimension"):
        Rollout(torch.ones(1, 3), torch.ones(1, 3, dtype=torch.bool), torch.zeros(1, 3), 1.0, 1.0)
    with pytest.raises(ValueError, match=r"group 7: prompt_ids .* one dimension"):
        Group(7, 0, torch.ones(1, 2), [])
    with pytest.raises(ValueError, match=r"response_mask is torch\.int64, must be bool: pass mask\.bool\(\)"):
        Rollout(torch.arange(3), torch.ones(3, dtype=torch.long), torch.zeros(3), 1.0, 1.0)
    for place, name in enumerate(("response_ids", "response_mask", "rollout_log_probs")):
        row = [torch.arange(2), torch.ones(2, dtype=torch.bool), torch.zeros(2)]
        row[place] = [0, 1]
        with pytest.raises(ValueError, match=f"rollout: {name} is a list, must be a tensor"):
            Rollout(*row, 1.0, 1.0)
    with pytest.raises(ValueError, match="group 7: prompt_ids is a list, must be a tensor"):
        Group(7, 0, [1, 2], [])


def test_options_in_short_are_those_of_the_section():
    assert ReplayBuffer(3).options == BufferOptions(versions=3)
    assert ReplayBuffer({"ratio": 0.5}).options == BufferOptions(ratio=0.5)
    with pytest.raises(ValueError, match=r"unknown key replay\.versons; did you mean replay\.versions\?"):
        ReplayBuffer({"versons": 3})


def test_state_restores_the_next_draws_and_the_rows():
    buffer = filled(make(seed=5), range(4))
    for row in rows_of(buffer.sample(20, 4)):
        row.remember_old_log_probs(row.rollout_log_probs - 0.25, 4)
    state = buffer.state_dict()
    other = make(seed=99)
    other.load_state_dict(state)
    assert other.statistics() == buffer.statistics()
    for version in (4, 5, 6):
        mine, theirs = buffer.sample(24, version), other.sample(24, version)
        assert numbers(mine) == numbers(theirs) and len(rows_of(mine)) == 24
        for one, other_one in zip(mine, theirs, strict=True):
            assert torch.equal(one.prompt_ids, other_one.prompt_ids) and one.uses == other_one.uses
        for a, b in zip(rows_of(mine), rows_of(theirs), strict=True):
            for name in ("response_ids", "response_mask", "rollout_log_probs"):
                assert torch.equal(getattr(a, name), getattr(b, name))
            assert (a.advantage, a.reward, a.old_version) == (b.advantage, b.reward, b.old_version)
            assert (a.old_log_probs is None) == (b.old_log_probs is None)
            assert a.old_log_probs is None or torch.equal(a.old_log_probs, b.old_log_probs)


def test_an_empty_state_restores():
    buffer = make()
    buffer.load_state_dict(make().state_dict())
    assert buffer.sample(4, 1) == []


def test_a_smaller_bound_applies_to_a_restored_state():
    state = filled(make(), range(3)).state_dict()
    buffer = make(max_megabytes=1000 / 1e6)
    buffer.load_state_dict(state)
    assert 0 < buffer.statistics().bytes <= 1000


def test_states_that_do_not_fit_are_refused_and_change_nothing():
    buffer = filled(make(), range(2))
    before = buffer.statistics()
    with pytest.raises(UserError, match=r"versions=3, this run has 5"):
        buffer.load_state_dict(make(versions=3).state_dict())
    with pytest.raises(UserError, match="format"):
        buffer.load_state_dict({"weights": 1})
    cut = filled(make(), range(2)).state_dict()
    cut["groups"]["response_ids"] = cut["groups"]["response_ids"][:-1]
    with pytest.raises(UserError, match="damaged"):
        buffer.load_state_dict(cut)
    assert buffer.statistics() == before


def test_thousands_of_groups_are_no_trouble():
    buffer = make()
    groups = [group(i, 0, size=2) for i in range(2000)]
    start = time.perf_counter()
    buffer.add(groups)
    for _ in range(5):
        buffer.sample(200, 1)
    make().load_state_dict(buffer.state_dict())
    buffer.begin_version(6)
    assert len(buffer) == 0
    # Quadratic work over 2000 groups would take minutes.
    assert time.perf_counter() - start < 20
