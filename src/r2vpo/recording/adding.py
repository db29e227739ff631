"""Answers of a log into the store, as far as it does not have them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from sqlalchemy import Connection

from r2vpo.recording import left_out
from r2vpo.recording.gathering import Gathered, LogOptions
from r2vpo.recording.known import KnownGroup, Row, key_of, known_groups, number_of, without_known
from r2vpo.recording.left_out import LeftOut, Unusable
from r2vpo.recording.scoring import FeedbackReward, FunctionReward
from r2vpo.recording.shelf import Lot
from r2vpo.replay.group import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, changing, drawing, writing
from r2vpo.store.changing import Change
from r2vpo.store.encoding import digest

MOST_ROWS = 16
"""Rows of a group; a log may have the same prompt thousands of times, and a draw takes whole groups."""


@dataclass(frozen=True)
class Target:
    """Where answers go.

    Attributes:
        store: Place of the store.
        name: Name of the import, by which runs select it.
        model: Name of the model.
        tokenizer: Fingerprint of its tokenizer.
        tags: What runs can select it by.
    """

    store: str
    name: str
    model: str
    tokenizer: str
    tags: Sequence[str] = ()


@dataclass
class Imported:
    """What an import did.

    Attributes:
        gathered: What the log has.
        groups: New groups in the store.
        rows: New answers in them.
        telling: New groups that a run can draw by this reward: their answers have different scores, or there is only
            one. None if they have not been scored.
        known: Answers that were in the store before.
        scored_again: Those of them that got a score by this reward, or another one than before.
        name: What the store calls the import.
    """

    gathered: Gathered
    groups: int = 0
    rows: int = 0
    telling: int | None = 0
    known: int = 0
    scored_again: int = 0
    name: str = ""

    @property
    def left_out(self) -> LeftOut:
        """Return what was left out."""
        return self.gathered.left_out


@dataclass
class LotRows:
    """The usable answers of a lot.

    Attributes:
        lot: The lot.
        rows: Those that the store does not have; all of them at first.
        known: The groups in the store that the others are in.
        next_index: The index of the lot's next group.
    """

    lot: Lot
    rows: list[Row]
    known: list[KnownGroup] = field(default_factory=list)
    next_index: int = 0

    def groups(self) -> Iterator[list[Row]]:
        """Yield `rows` as groups, each of one row of the data."""
        alike: dict[str, list[Row]] = {}
        for row in self.rows:
            alike.setdefault(row[0].columns, []).append(row)
        for some in alike.values():
            yield from (some[place : place + MOST_ROWS] for place in range(0, len(some), MOST_ROWS))

    def telling(self) -> int:
        """Return how many of these groups can be drawn."""
        scores = ([scored.score for _, scored in some if scored is not None] for some in self.groups())
        return sum(writing.has_signal(some) for some in scores)


def with_feedback(lot: Lot, reward: FeedbackReward | None, left: LeftOut) -> list[Row]:
    """Return the rows that have the feedback that is needed, with their scores."""
    if reward is None:
        return [(row, None) for row in lot.rows]
    found: list[Row] = []
    for row in lot.rows:
        try:
            found.append((row, reward.scored(row.feedback)))
        except Unusable as problem:
            left.add(problem, row.place)
    return found


class Adding:
    """The store, and this import's run in it.

    Args:
        done: Counts what is added; its log has been read.
        options: How it was read.
        reward: What answers are worth.
        target: Where they go.
    """

    def __init__(
        self, done: Imported, options: LogOptions, reward: FeedbackReward | FunctionReward, target: Target
    ) -> None:
        self._done, self._reward = done, reward
        self._store = RolloutStore(target.store)
        key = digest("import", done.gathered.key, target.tokenizer, options.version_column or "")
        with self._store.writing() as connection:
            run = writing.add_run(
                connection,
                key,
                name=target.name,
                kind="proxy" if done.gathered.recorded else "import",
                model=target.model,
                tokenizer=target.tokenizer,
                recipe=None,
                tags=target.tags,
            )
            changing.add_tags(connection, run, target.tags)
            done.name = drawing.run_of(connection, run).name
            self._reward_id = writing.add_reward(connection, reward.version, reward.description)
            self._versions = {
                version.number: writing.add_named_version(connection, run, name, created=version.last)
                for name, version in done.gathered.versions.items()
            }
            self._pruned_to = changing.pruned_to(connection, run)

    def add(self, found: Sequence[LotRows], tokenizer: Any) -> None:
        """Add what the store does not have of some lots: answers, scores and columns."""
        with self._store.reading() as connection:
            self._set_known_apart(connection, found)
        if isinstance(self._reward, FunctionReward):
            self._score(self._reward, found, tokenizer)
        changes = [change for one in found for change in self._changes(one)]
        new: dict[int, list[Sampled]] = {}
        for one in found:
            numbered = [_group(one.lot, one.next_index + place, some) for place, some in enumerate(one.groups())]
            if numbered:
                new.setdefault(self._versions[one.lot.version], []).extend(numbered)
        if new or changes:
            with self._store.writing() as connection:
                for version, groups in new.items():
                    self._done.groups += writing.add_groups(connection, version, groups, self._reward_id)
                changing.change(connection, self._reward_id, changes)
        self._done.rows += sum(len(one.rows) for one in found)
        self._done.telling = (self._done.telling or 0) + sum(one.telling() for one in found)

    def _set_known_apart(self, connection: Connection, found: Sequence[LotRows]) -> None:
        """Give each lot its groups in the store, and leave it the rows that are new."""
        of_version: dict[int, list[LotRows]] = {}
        for one in found:
            of_version.setdefault(self._versions[one.lot.version], []).append(one)
        for version, some in of_version.items():
            known = known_groups(connection, version, [one.lot for one in some], self._reward.version)
            for one in some:
                one.known = known.get(key_of(one.lot), [])
                one.next_index = 1 + max((group.index for group in one.known), default=-1)
                one.rows = self._not_pruned(without_known(one.rows, one.known), self._pruned_to.get(version))

    def _not_pruned(self, rows: list[Row], until: float | None) -> list[Row]:
        left = []
        for row, scored in rows:
            if until is not None and row.data.time <= until:
                self._done.left_out.add(Unusable(left_out.PRUNED), row.place)
            else:
                left.append((row, scored))
        return left

    def _changes(self, one: LotRows) -> Iterator[Change]:
        """Yield what is new of a lot's known groups; a row that cannot be scored with its group becomes a new one.

        Draws take whole groups, and feedback of a kind may have been given on a part of a group only.
        """
        for group in one.known:
            merged = group.merged()
            if merged is None:
                one.rows += [row for row in group.found.values() if row[1] is not None]
                continue
            self._done.known += len(group.found)
            again = sum(new != old for new, old in zip(merged, group.scores, strict=True))
            self._done.scored_again += again
            columns = group.new_columns
            if again or columns is not None:
                said = ([score.score for score in merged], [score.parts for score in merged]) if again else None
                yield Change(group.id, group.version, group.group.prompt_ids, said, columns)

    def _score(self, reward: FunctionReward, found: Sequence[LotRows], tokenizer: Any) -> None:
        """Score new answers, and known ones that the function has not scored, or not with these columns."""
        known = [
            (group, place)
            for one in found
            for group in one.known
            for place, (row, _) in group.found.items()
            if not group.is_scored or group.has_other_columns(row)
        ]
        rows = [row for one in found for row, _ in one.rows] + [group.found[place][0] for group, place in known]
        if not rows:
            return
        ids = [np.frombuffer(row.data.ids, np.int32).tolist() for row in rows]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        scored = reward.scored([json.loads(row.columns) for row in rows], texts, ids)
        for row, score in zip(rows, scored, strict=True):
            if score is None:
                self._done.left_out.add(Unusable(left_out.NO_SCORE), row.place)
        scores = iter(scored)
        for one in found:
            one.rows = [(row, score) for row, _ in one.rows if (score := next(scores)) is not None]
        for group, place in known:
            group.found[place] = (group.found[place][0], next(scores))


def _group(lot: Lot, index: int, rows: Sequence[Row]) -> Sampled:
    rollouts, parts = [], []
    for row, scored in rows:
        assert scored is not None, "rows without a score have been left out"
        ids = torch.from_numpy(np.frombuffer(row.data.ids, np.int32).astype(np.int64))
        log_probs = torch.from_numpy(np.frombuffer(row.data.log_probs, np.float32).copy())
        rollouts.append(Rollout(ids, torch.ones(len(ids), dtype=torch.bool), log_probs, 0.0, scored.score))
        parts.append(scored.parts)
    prompt_ids = torch.from_numpy(np.frombuffer(lot.prompt_ids, np.int32).astype(np.int64))
    return Sampled(
        Group(number_of(lot, index), lot.version, prompt_ids, rollouts),
        json.loads(rows[0][0].columns),
        parts,
        lot.temperature,
        [row.data.ended for row, _ in rows],
        max(row.data.time for row, _ in rows),
    )
