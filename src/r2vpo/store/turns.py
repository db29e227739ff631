"""Whose groups come next in a draw: versions take turns until the rows are filled."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass, field

from r2vpo.store.drawing import BEFORE_ALL, Candidate


@dataclass(frozen=True)
class Version:
    """What is known of a version before a draw.

    Attributes:
        last: The place of the group that it gave last.
        least: Rows of its smallest group.
    """

    last: int
    least: int


Ask = Callable[[Mapping[int, int], int, int], Mapping[int, Sequence[Candidate]]]
"""From the place after which each version is asked, the most rows of a group, and the most groups of each version."""


def take_turns(
    ask: Ask, versions: Mapping[int, Version], rows: int, *, left_out: Container[int] = ()
) -> list[Candidate]:
    """Choose groups of so many rows, or fewer if what is left fits into none.

    In its turn, a version gives the next of its groups that fits, each once, in the order of their places: from behind
    the last one to the end, and then from the beginning.

    Args:
        ask: Asks the store, for any number of versions at once.
        versions: What takes turns, in this order.
        rows: How many.
        left_out: Groups that are not chosen.
    """
    queues = {version: _Queue(one.last, one.last) for version, one in versions.items()}
    least = min((one.least for one in versions.values()), default=1)
    chosen: list[Candidate] = []
    while queues:
        order = list(queues)
        for place, version in enumerate(order):
            one = None
            if versions[version].least <= rows:
                one = queues[version].next(rows)
                if one is None and queues[version].empty:
                    groups = rows // least  # no more of them fit
                    empty = [other for other in order[place:] if queues[other].empty][:groups]
                    count = -(-groups // len(queues))
                    _fill(ask, {other: queues[other] for other in empty}, rows, count, left_out)
                    one = queues[version].next(rows)
            if one is None:
                del queues[version]
            else:
                chosen.append(one)
                rows -= one.size
    return chosen


@dataclass
class _Queue:
    """The next groups of a version: `page` has those that are known, and the others come after the place `after`."""

    last: int
    after: int
    from_beginning: bool = False
    page: deque[Candidate] = field(default_factory=deque)

    def next(self, rows: int) -> Candidate | None:
        """Take the next known one with at most so many rows."""
        while self.page:
            one = self.page.popleft()
            if one.size <= rows:
                return one
        return None

    def add(self, page: Sequence[Candidate], asked: int, left_out: Container[int]) -> None:
        """Add what comes after `after`; there are no more if they are fewer than were asked for."""
        for one in page:
            if one.group not in left_out and not (self.from_beginning and one.place > self.last):
                self.page.append(one)
        if len(page) >= asked:
            self.after = page[-1].place
        elif self.from_beginning:
            self.after = self.last
        else:
            self.from_beginning, self.after = True, BEFORE_ALL

    @property
    def empty(self) -> bool:
        """Return whether nothing is known, and the version has not given all its groups."""
        return not self.page and not (self.from_beginning and self.after >= self.last)


def _fill(ask: Ask, queues: Mapping[int, _Queue], rows: int, count: int, left_out: Container[int]) -> None:
    """Ask until each version has given at least one group, or all."""
    while queues:
        found = ask({version: queue.after for version, queue in queues.items()}, rows, count)
        for version, queue in queues.items():
            queue.add(found.get(version, ()), count, left_out)
        queues = {version: queue for version, queue in queues.items() if queue.empty}
        count *= 2
