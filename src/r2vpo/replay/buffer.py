"""Buffer of rollouts by policy version: admission, ageing, drawing and eviction."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import torch

from r2vpo.core.options import BufferOptions
from r2vpo.errors import UserError
from r2vpo.replay.group import Group
from r2vpo.replay.packing import pack, unpack
from r2vpo.replay.report import Admission, ReplayStatistics

STATE_FORMAT = 1


@dataclass
class _Totals:
    drawn: int = 0
    evicted_by_age: int = 0
    evicted_by_memory: int = 0
    zero_advantage: int = 0
    non_finite: int = 0
    too_large: int = 0
    not_kept: int = 0


@dataclass
class ReplayBuffer:
    """Buffer of rollouts of the last `versions` policy versions, in whole groups.

    A row of version v can be drawn at versions v+1 to v+versions. A draw follows this rule: the available versions take
    turns in random order, each giving one group per turn; within a version the groups that were drawn least often come
    first, in uniformly random order among equals. No group appears twice in a draw, a group with more rows than are
    still wanted is skipped, and a draw never waits: it returns what is available.

    Args:
        options: How long rollouts are kept, how many are drawn, and how much memory they may use, in any form that
            `BufferOptions.of` accepts, such as only the `versions`.
        seed: Seed of the draws.

    Raises:
        ValueError: An option is unknown or is rejected.
    """

    options: BufferOptions = field(default_factory=BufferOptions)
    seed: int = 0

    def __post_init__(self) -> None:
        self.options = BufferOptions.of(self.options, "replay")
        megabytes = self.options.max_megabytes
        self._max_bytes = None if megabytes is None else round(megabytes * 1e6)
        self._generator = torch.Generator().manual_seed(self.seed)
        self.clear()

    def clear(self) -> None:
        """Forget all rows, counts and the version; the random state of the draws is kept."""
        self._groups: dict[int, dict[int, Group]] = {}
        self._version_of: dict[int, int] = {}
        self._bytes = 0
        self._version: int | None = None
        self._totals = _Totals()

    def __len__(self) -> int:
        return sum(len(group) for group in self._all_groups())

    def begin_version(self, policy_version: int) -> int:
        """Move on to a policy version and forget the groups that are now too old.

        Args:
            policy_version: the version that the next rollouts will have.

        Returns:
            The number of rows forgotten.

        Raises:
            ValueError: the version is lower than an earlier one.
        """
        if self._version is not None and policy_version < self._version:
            raise ValueError(
                f"replay: version {policy_version} comes after version {self._version}, and versions must not go "
                "back: call clear() or load_state_dict() to start from an earlier one"
            )
        self._version = policy_version
        forgotten = 0
        for version in sorted(self._groups):
            if version < policy_version - self.options.versions:
                for group in list(self._groups[version]):
                    forgotten += self._remove(version, group)
        self._totals.evicted_by_age += forgotten
        return forgotten

    def add(self, groups: Sequence[Group], *, critic: bool = False) -> Admission:
        """Admit whole groups; they are copied, so set `old_log_probs` before this call or on the groups drawn later.

        A group is rejected if it teaches nothing (all its advantages are 0, or with a critic no row has a score), if
        any of its rows has a non-finite advantage or a non-finite log-prob under its mask, if the group by itself is
        larger than `max_megabytes`, or if its version would not be kept.

        Args:
            groups: in any order, each with all its rows.
            critic: whether a critic computes the advantages, also of rows that score like all others of their group.

        Returns:
            Counts of rows by outcome.

        Raises:
            ValueError: a group is already in the buffer.
        """
        for number, times in Counter(group.number for group in groups).items():
            if times > 1 or number in self._version_of:
                raise ValueError(
                    f"replay: group {number} is already in the buffer: give each prompt group its "
                    "own number and add all its rows at once"
                )
        newest = max((group.policy_version for group in groups), default=None)
        if newest is not None and (self._version is None or newest > self._version):
            self.begin_version(newest)
        counts = dict.fromkeys(Admission.__dataclass_fields__, 0)
        for group in groups:
            counts[self._admit(group, critic)] += len(group)
        self._shrink()
        for reason in ("zero_advantage", "non_finite", "too_large", "not_kept"):
            setattr(self._totals, reason, getattr(self._totals, reason) + counts[reason])
        return Admission(**counts)

    def sample(self, count_rows: int, policy_version: int) -> list[Group]:
        """Draw whole groups of stale rows, by the rule in the class docstring.

        Args:
            count_rows: largest number of rows to return.
            policy_version: the current version; its own rows are never drawn.

        Returns:
            The buffer's own groups, with their `uses` incremented. Log-probs set on their rows by
            `remember_old_log_probs` stay in the buffer.

        Raises:
            ValueError: `count_rows` is negative.
        """
        if count_rows < 0:
            raise ValueError(f"replay: {count_rows} rows requested, must be at least 0: pass 0 for none")
        if self._version is None or policy_version > self._version:
            self.begin_version(policy_version)
        oldest = policy_version - self.options.versions
        versions = [v for v in sorted(self._groups) if oldest <= v < policy_version]
        wanted, drawn = count_rows, list[Group]()
        for group in self._in_turns(versions):
            if wanted == 0:
                break
            if len(group) <= wanted:
                wanted -= len(group)
                group.uses += 1
                drawn.append(group)
        self._totals.drawn += count_rows - wanted
        return drawn

    def wanted(self, fresh_rows: int) -> int:
        """Return how many stale rows to request in addition to `fresh_rows` fresh ones (rounded down)."""
        return 0 if self.options.versions == 0 else math.floor(self.options.ratio * fresh_rows + 1e-9)

    def statistics(self) -> ReplayStatistics:
        """Return statistics of the buffer."""
        rows_by_age = [0] * (self.options.versions + 1)
        rows, uses = 0, 0
        for group in self._all_groups():
            rows += len(group)
            uses += group.uses * len(group)
            rows_by_age[group.staleness(self._version or 0)] += len(group)
        totals = asdict(self._totals)
        return ReplayStatistics(
            rows=rows,
            groups=len(self._version_of),
            bytes=self._bytes,
            rows_by_age=rows_by_age,
            mean_uses=uses / rows if rows else 0.0,
            drawn=totals.pop("drawn"),
            evicted_by_age=totals.pop("evicted_by_age"),
            evicted_by_memory=totals.pop("evicted_by_memory"),
            refused=totals,
        )

    def state_dict(self) -> dict[str, Any]:
        """Return everything that the next draw depends on, as tensors, numbers, strings and dicts."""
        return {
            "format": STATE_FORMAT,
            "versions": self.options.versions,
            "version": self._version,
            "generator": self._generator.get_state(),
            "totals": asdict(self._totals),
            "groups": pack(list(self._all_groups())),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from a state; the next draw is the one that would have followed it.

        `seed`, `ratio` and `max_megabytes` may differ from the run that wrote the state (a smaller bound forgets the
        oldest groups); `versions` may not, since it decides which rows are kept.

        Args:
            state: the result of `state_dict`.

        Raises:
            UserError: the state is not that of a buffer, is damaged, or has a different `versions`; nothing is changed
                in that case.
        """
        if not isinstance(state, dict) or state.get("format") != STATE_FORMAT:
            raise UserError(
                f"replay state: not a state of format {STATE_FORMAT}: resume from a checkpoint that this "
                "version of r2vpo wrote, or start a new run"
            )
        if state.get("versions") != self.options.versions:
            raise UserError(
                f"replay state: written with replay.versions={state.get('versions')}, this run has "
                f"{self.options.versions}: resume with the same value, or start a new run"
            )
        try:
            groups, totals = unpack(state["groups"]), _Totals(**state["totals"])
            version = state["version"]
            self._generator.set_state(state["generator"].cpu())
        except (KeyError, TypeError, AttributeError, IndexError, RuntimeError, ValueError) as error:
            raise UserError(
                f"replay state: damaged ({type(error).__name__}: {error}): resume from an earlier checkpoint"
            ) from error
        self.clear()
        self._version, self._totals = version, totals
        for group in groups:
            self._insert(group)
        self._shrink()

    def _admit(self, group: Group, critic: bool) -> str:
        if not all(row.is_finite() for row in group.rollouts):
            return "non_finite"
        if not any(row.scored if critic else row.advantage != 0 for row in group.rollouts):
            return "zero_advantage"
        if self.options.versions == 0 or group.staleness(self._version or 0) > self.options.versions:
            return "not_kept"
        if self._max_bytes is not None and group.num_bytes() > self._max_bytes:
            return "too_large"
        self._insert(group.stored())
        return "admitted"

    def _insert(self, group: Group) -> None:
        self._groups.setdefault(group.policy_version, {})[group.number] = group
        self._version_of[group.number] = group.policy_version
        self._bytes += group.num_bytes()

    def _remove(self, version: int, number: int) -> int:
        group = self._groups[version].pop(number)
        if not self._groups[version]:
            del self._groups[version]
        del self._version_of[number]
        self._bytes -= group.num_bytes()
        return len(group)

    def _shrink(self) -> None:
        limit = self._max_bytes
        while limit is not None and self._bytes > limit:
            oldest = min(self._groups)
            self._totals.evicted_by_memory += self._remove(oldest, next(iter(self._groups[oldest])))

    def _all_groups(self) -> Iterator[Group]:
        for version in sorted(self._groups):
            yield from self._groups[version].values()

    def _in_turns(self, versions: list[int]) -> Iterator[Group]:
        order = torch.randperm(len(versions), generator=self._generator).tolist()
        queues = []
        for index in order:
            groups = list(self._groups[versions[index]].values())
            shuffled = torch.randperm(len(groups), generator=self._generator).tolist()
            queues.append(iter(sorted((groups[i] for i in shuffled), key=lambda group: group.uses)))
        while queues:
            waiting = []
            for queue in queues:
                group = next(queue, None)
                if group is not None:
                    waiting.append(queue)
                    yield group
            queues = waiting
