"""Which stored groups are longer than what a run trains on."""

from __future__ import annotations

import pytest
import torch

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.store import RolloutStore, Source, writing
from r2vpo.store.fitting import Lengths, groups_too_long
from r2vpo.store.other_runs import DrawsOfRun
from tests.unit.store.filled import add_run, fill, sampled

# The longest of the two responses of group n has n + 4 tokens, and each prompt has 7.
LENGTHS = [
    (Lengths(), set()),
    (Lengths(prompt=7, response=8, row=15), set()),
    (Lengths(response=6), {3, 4}),
    (Lengths(row=12), {2, 3, 4}),
    (Lengths(prompt=6), {1, 2, 3, 4}),
]


def filled(place: str) -> tuple[RolloutStore, int]:
    store = RolloutStore(place)
    _, reward = fill(store, "a", versions=1, groups=0)
    with store.writing() as connection:
        writing.add_groups(connection, 1, [sampled(number, length=number + 3) for number in range(1, 5)], reward)
    return store, reward


@pytest.mark.parametrize(("lengths", "too_long"), LENGTHS)
def test_a_group_with_a_longer_row_is_too_long(lengths: Lengths, too_long: set[int], place: str) -> None:
    store, _ = filled(place)
    with store.reading() as connection:
        assert groups_too_long(connection, lengths, [1], sees=99) == too_long
        assert groups_too_long(connection, lengths, [1], sees=3) == too_long - {4}
        assert groups_too_long(connection, lengths, [2], sees=99) == set()


def test_a_run_draws_only_what_it_could_have_sampled(place: str) -> None:
    store, reward = filled(place)
    draws = DrawsOfRun(
        store,
        add_run(store, "b"),
        reward,
        Source(),
        tokenizer="t",
        ratio=1.0,
        advantages=ADVANTAGES["grpo"],
        cap=2.0,
        part=(0, 1),
        total=torch.clone,
        seed=0,
        lengths=Lengths(response=6),
    )
    assert draws.too_long == {3, 4}
    assert {-group.number for group in draws.draw(8, 0)} == {1, 2}


def test_limits_are_named() -> None:
    assert str(Lengths(512, 256, 4096)) == "prompt 512, response 256, both together 4,096"
    assert str(Lengths(response=256)) == "response 256"
