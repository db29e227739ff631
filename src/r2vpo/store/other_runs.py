"""What a run draws from the store: `r2vpo.replay.others.OtherRuns`, on the rollouts of other runs."""

from __future__ import annotations

import hashlib
import math
import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import torch
from sqlalchemy import Connection
from torch import Tensor

from r2vpo.replay.group import Group
from r2vpo.store import drawing, writing
from r2vpo.store.apart import Asks, Decode, groups_that_ask
from r2vpo.store.drawing import Candidate
from r2vpo.store.fitting import Lengths, groups_too_long
from r2vpo.store.nothing import versions_to_draw
from r2vpo.store.opening import shown
from r2vpo.store.records import Drawn, Source
from r2vpo.store.store import RolloutStore
from r2vpo.store.turns import Version, take_turns
from r2vpo.store.worth import Worth, worth_of


class DrawsOfRun:
    """The draws of one run, the same again if it is resumed.

    Each round, `ratio` rows per fresh row are drawn: one group each from versions chosen at random among those that are
    still worth it (`r2vpo.store.worth`), more from each only if they are fewer than the groups needed. A version gives
    its groups in a random order that begins elsewhere for each run, and again from the start after the last one.

    A run sees what was in the store when it was started, and its scores, so that what others write meanwhile changes
    nothing.

    Args:
        store: The store.
        run: The run's id.
        reward: Id of its reward: only groups that it scored are drawn.
        source: What may be drawn.
        tokenizer: Fingerprint of its tokenizer.
        ratio: Rows per fresh row.
        advantages: From (B,) rewards and the size of each group to (B,) advantages.
        cap: Largest stale weight.
        part: `(i, n)`: process i of n.
        total: Sums a tensor over all processes.
        seed: Seed of the choice of versions.
        apart: Whether a prompt is one that the run is evaluated on, and the decoder of its tokenizer; None if there are
            none.
        lengths: What the run trains on; groups with longer rows are not drawn. None means any.

    Attributes:
        evaluated_on: Groups that are not drawn because they answer problems that the run is evaluated on.
        too_long: Groups that are not drawn because a row is too long.

    Raises:
        UserError: Nothing in the store can be drawn; the message says why.
    """

    def __init__(
        self,
        store: RolloutStore,
        run: int,
        reward: int,
        source: Source,
        *,
        tokenizer: str,
        ratio: float,
        advantages: Callable[[Tensor, int], Tensor],
        cap: float,
        part: tuple[int, int],
        total: Callable[[Tensor], Tensor],
        seed: int,
        apart: tuple[Asks, Decode] | None = None,
        lengths: Lengths | None = None,
    ) -> None:
        self.store, self.run, self.reward, self.ratio, self.seed = store, run, reward, ratio, seed
        self._advantages, self._cap, self._part, self._total = advantages, cap, part, total
        with store.reading() as connection:
            self._sees = drawing.run_of(connection, run).sees
            self._versions = versions_to_draw(
                connection,
                source,
                run=run,
                tokenizer=tokenizer,
                reward=reward,
                sees=self._sees,
                place=shown(store.place),
            )
            self.evaluated_on = set() if apart is None else groups_that_ask(connection, *apart, sees=self._sees)
            self.too_long = set[int]()
            if lengths is not None:
                self.too_long = groups_too_long(connection, lengths, self._versions, sees=self._sees)
            self._left_out = self.evaluated_on | self.too_long
            self._after = {version: _start(run, version) for version in self._versions}
            self._after |= drawing.last_places(connection, run, reward, part)
            self.worth = {version: Worth() for version in self._versions}
            for row in drawing.measured(connection, run):
                if row.version in self.worth:
                    now = Worth(row.rows, row.tokens, row.decisions, row.weights, row.squares)
                    self.worth[row.version] = self.worth[row.version].then(now)
        self._moments: dict[int, tuple[float, float]] = {}
        self._round = 0
        self._drawn: list[tuple[int, Group]] = []
        self._rows: dict[int, int] = {}

    def begin(self, number: int) -> None:
        """Begin a round; what is drawn and measured from now on is noted under its number."""
        self._round = number

    def draw(self, fresh_rows: int, policy_version: int) -> list[Group]:
        """See `OtherRuns.draw`."""
        wanted = math.floor(self.ratio * fresh_rows + 1e-9)
        worthy = [version for version in self._versions if not self.worth[version].known_worthless]
        order = random.Random(f"{self.seed}/{self._round}").sample(worthy, min(len(worthy), wanted))
        with self.store.reading() as connection:
            chosen = self._choose(connection, order, wanted)
            found = drawing.read_groups(connection, [one.group for one in chosen], self.reward)
            self._set_advantages(connection, found)
        groups = [replace(one.group, policy_version=policy_version, uses=one.group.uses + 1) for one in found]
        for one in chosen:
            self._after[one.version] = one.place
        self._drawn = list(zip((one.version for one in chosen), groups, strict=True))
        if chosen:
            with self.store.writing() as connection:
                writing.add_draws(connection, self.run, self._round, [one.group for one in chosen])
        return groups

    def measure(self, groups: list[Group]) -> None:
        """See `OtherRuns.measure`."""
        order = {version: place for place, version in enumerate(self._versions)}
        sums = torch.zeros(len(order), 5, dtype=torch.float64)
        for version, group in self._drawn:
            sums[order[version]] += worth_of(group.rollouts, self._cap).sum(0)
        sums = self._total(sums)
        rows, self._rows = [], {}
        for version, values in zip(order, sums.tolist(), strict=True):
            if not values[0]:
                continue
            self._rows[version] = int(values[0])
            self.worth[version] = self.worth[version].then(Worth(*values))
            names = ("rows", "tokens", "decisions", "weights", "squares")
            rows.append({"version": version} | dict(zip(names, values, strict=True)))
        if rows and self._part[0] == 0:
            with self.store.writing() as connection:
                writing.add_measurements(connection, self.run, self._round, rows)

    def statistics(self) -> dict[str, float]:
        """Return what all processes drew in the last round, by the names of docs/metrics.md."""
        known = [self.worth[version].share for version in self._rows]
        return {
            "stored_rows": float(sum(self._rows.values())),
            "stored_share": sum(known) / len(known) if known else 0.0,
            "stored_versions": float(len(self._versions)),
            "stored_versions_left_out": float(sum(worth.known_worthless for worth in self.worth.values())),
        }

    def _choose(self, connection: Connection, order: Sequence[int], rows: int) -> list[Candidate]:
        def ask(after: Mapping[int, int], rows: int, count: int) -> Mapping[int, Sequence[Candidate]]:
            return drawing.next_groups(
                connection, self.reward, after, run=self.run, part=self._part, rows=rows, count=count
            )

        versions = {version: Version(self._after[version], self._versions[version]) for version in order}
        return take_turns(ask, versions, rows, left_out=self._left_out)

    def _set_advantages(self, connection: Connection, found: Sequence[Drawn]) -> None:
        """Give each row its advantage, in all groups of one size at once."""
        of_size: dict[int, list[Drawn]] = {}
        for one in found:
            of_size.setdefault(len(one.group), []).append(one)
        for size, some in of_size.items():
            rows = [row for one in some for row in one.group.rollouts]
            rewards = torch.tensor([row.reward for row in rows], dtype=torch.float64)
            if size > 1:
                advantages = self._advantages(rewards, size)
            else:
                moments = torch.tensor([self._of_version(connection, one.version) for one in some], dtype=torch.float64)
                advantages = (rewards - moments[:, 0]) / moments[:, 1]
            for row, advantage in zip(rows, advantages.tolist(), strict=True):
                row.advantage = advantage

    def _of_version(self, connection: Connection, version: int) -> tuple[float, float]:
        """Return mean and standard deviation of a version's scores: the baseline of an answer without others."""
        if version not in self._moments:
            mean, deviation = drawing.score_moments(connection, self.reward, version, run=self.run)
            self._moments[version] = (mean, deviation or 1.0)
        return self._moments[version]


def _start(run: int, version: int) -> int:
    """Return the place at which a run begins with a version."""
    return int.from_bytes(hashlib.blake2b(f"{run}:{version}".encode(), digest_size=8).digest(), "little") >> 2
