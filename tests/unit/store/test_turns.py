"""Versions take turns until the rows of a draw are filled."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from r2vpo.store.drawing import Candidate
from r2vpo.store.turns import Version, take_turns


class Shelves:
    """Groups of versions in the order of their places, which count how often they are asked."""

    def __init__(self, sizes: Mapping[int, list[int]]) -> None:
        self.of = {
            version: [Candidate(version, 10 * at, 1000 * version + at, size) for at, size in enumerate(some)]
            for version, some in sizes.items()
        }
        self.asked: list[int] = []

    def ask(self, after: Mapping[int, int], rows: int, count: int) -> dict[int, list[Candidate]]:
        self.asked.append(len(after))
        fits = {v: [one for one in self.of[v] if one.place > low and one.size <= rows] for v, low in after.items()}
        return {version: some[:count] for version, some in fits.items() if some}

    def draw(self, rows: int, last: int, left_out: set[int]) -> list[Candidate]:
        least = {version: min(one.size for one in some) for version, some in self.of.items()}
        return take_turns(
            self.ask, {version: Version(last, least[version]) for version in self.of}, rows, left_out=left_out
        )

    def by_hand(self, rows: int, last: int, left_out: set[int]) -> list[Candidate]:
        """One group after the other, from lists of all groups."""
        left = {}
        for version, some in self.of.items():
            usable = [one for one in some if one.group not in left_out]
            left[version] = [one for one in usable if one.place > last] + [one for one in usable if one.place <= last]
        chosen: list[Candidate] = []
        while any(left.values()):
            for version, some in left.items():
                left[version] = [one for one in some if one.size <= rows]
                if left[version]:
                    chosen.append(left[version].pop(0))
                    rows -= chosen[-1].size
        return chosen


@pytest.mark.parametrize("seed", range(40))
def test_each_version_gives_its_next_group_that_fits(seed: int) -> None:
    choose = random.Random(seed)
    largest = choose.choice([1, 4, 16])
    sizes = {
        version: [choose.randint(1, largest) for _ in range(choose.randint(1, 12))] for version in range(1, seed + 2)
    }
    shelves = Shelves(sizes)
    every = [one.group for some in shelves.of.values() for one in some]
    left_out = set(choose.sample(every, choose.choice([0, len(every) // 2, len(every)])))
    for rows in (0, 1, 7, 40, 10_000):
        last = choose.choice([0, 25, 60, 10**6])
        assert shelves.draw(rows, last, left_out) == shelves.by_hand(rows, last, left_out)


@pytest.mark.parametrize(("versions", "groups", "rows"), [(1, 64, 512), (64, 64, 512), (1000, 4, 512), (1000, 1, 99)])
def test_the_store_is_asked_once_however_many_versions_there_are(versions: int, groups: int, rows: int) -> None:
    shelves = Shelves({version: [8] * groups for version in range(versions)})
    assert sum(one.size for one in shelves.draw(rows, -1, set())) == rows // 8 * 8
    assert len(shelves.asked) == 1 and shelves.asked[0] <= max(rows // 8, 1)
    # From the last place, they begin again.
    again = Shelves({version: [8] * groups for version in range(versions)})
    assert len(again.draw(rows, 10**6, set())) == rows // 8 and len(again.asked) == 2


def test_groups_that_are_left_out_take_few_questions() -> None:
    shelves = Shelves({1: [8] * 1000})
    (one,) = shelves.draw(8, -1, {1000 + at for at in range(999)})
    assert one.group == 1999 and len(shelves.asked) <= 10
