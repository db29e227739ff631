"""The buffer under any order of adding, drawing and moving on."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from r2vpo.core.options import BufferOptions
from r2vpo.replay import ReplayBuffer
from tests.unit.replay.rows import group, numbers

ROUNDS = st.lists(
    st.tuples(
        st.lists(st.tuples(st.integers(1, 5), st.integers(0, 6), st.booleans()), max_size=4),
        st.integers(0, 20),
        st.integers(1, 2),
    ),
    min_size=1,
    max_size=8,
)


def play(buffer, rounds, start=0, version=0):
    """Add groups (size, length, zero advantage), draw, move on; yield what each round drew."""
    number = start
    for groups, wanted, step in rounds:
        added = []
        for size, length, zero in groups:
            added.append(group(number, version, size, length, advantages=[0.0] * size if zero else None))
            number += 1
        admission = buffer.add(added)
        version += step
        yield buffer.sample(wanted, version), wanted, version, added, admission


@settings(max_examples=60, deadline=None)
@given(rounds=ROUNDS, versions=st.integers(0, 3), limit=st.none() | st.integers(200, 2000))
def test_every_round_keeps_the_promises(rounds, versions, limit):
    buffer = ReplayBuffer(BufferOptions(versions=versions, max_megabytes=None if limit is None else limit / 1e6))
    sizes = {}
    for drawn, wanted, version, added, admission in play(buffer, rounds):
        sizes |= {one.number: len(one) for one in added}
        counts = vars(admission)
        assert sum(counts.values()) == sum(map(len, added))
        assert sum(map(len, drawn)) <= wanted
        assert all(1 <= one.staleness(version) <= versions for one in drawn)
        assert all(any(row.advantage for row in one.rollouts) for one in drawn)
        assert [len(one) for one in drawn] == [sizes[number] for number in numbers(drawn)]
        statistics = buffer.statistics()
        assert limit is None or statistics.bytes <= limit
        assert statistics.rows == len(buffer) == sum(statistics.rows_by_age)


@settings(max_examples=40, deadline=None)
@given(rounds=ROUNDS, cut=st.integers(0, 8), seed=st.integers(0, 1000))
def test_a_restored_buffer_goes_on_the_same(rounds, cut, seed):
    cut = min(cut, len(rounds) - 1)
    whole = ReplayBuffer(seed=seed)
    expected = [numbers(drawn) for drawn, *_ in play(whole, rounds)]
    first = ReplayBuffer(seed=seed)
    got = [numbers(drawn) for drawn, *_ in play(first, rounds[:cut])]
    second = ReplayBuffer(seed=seed + 1)
    second.load_state_dict(first.state_dict())
    start = sum(len(groups) for groups, *_ in rounds[:cut])
    version = sum(step for *_, step in rounds[:cut])
    got += [numbers(drawn) for drawn, *_ in play(second, rounds[cut:], start, version)]
    assert got == expected
    assert second.statistics() == whole.statistics()
    assert torch.equal(second.state_dict()["generator"], whole.state_dict()["generator"])
