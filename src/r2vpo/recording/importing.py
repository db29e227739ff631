"""Logs into the store: answers to one prompt become groups, and what is already there is not added again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy import Connection

from r2vpo.recording import left_out
from r2vpo.recording.gathering import Gathered, LogOptions, gather
from r2vpo.recording.left_out import LeftOut, Unusable
from r2vpo.recording.scoring import FeedbackReward, FunctionReward, Scored
from r2vpo.recording.shelf import Lot, ShelfRow
from r2vpo.replay.group import Group, Rollout
from r2vpo.store import RolloutStore, Sampled, drawing, writing
from r2vpo.store.encoding import digest

MOST_ROWS = 16
"""Rows of a group; a log may have the same prompt thousands of times, and a draw takes whole groups."""

LOTS_AT_ONCE = 128
"""Prompts that are written in one transaction."""


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
    """

    gathered: Gathered
    groups: int = 0
    rows: int = 0
    telling: int | None = 0
    known: int = 0

    @property
    def left_out(self) -> LeftOut:
        """Return what was left out."""
        return self.gathered.left_out


@dataclass
class _Rows:
    """The usable answers of a lot that the store does not have yet."""

    lot: Lot
    rows: list[tuple[ShelfRow, Scored | None]]
    next_group: int = 0


def check_log(paths: Sequence[Path], tokenizer: Any, options: LogOptions, reward: FeedbackReward | None) -> Imported:
    """Do what `import_log` does without a store: nothing is written, and no reward function is called.

    Args:
        paths: Files.
        tokenizer: The model's.
        options: How they are read.
        reward: Feedback that answers need; None if they need none.
    """
    done = Imported(gather(paths, tokenizer, options), telling=None if reward is None else 0)
    for lot in done.gathered.shelf.lots():
        rows = _with_feedback(lot, reward, done.left_out)
        done.rows += len(rows)
        done.groups += -(-len(rows) // MOST_ROWS)
        if done.telling is not None:
            done.telling += _telling(rows)
    return done


def import_log(
    paths: Sequence[Path],
    tokenizer: Any,
    options: LogOptions,
    reward: FeedbackReward | FunctionReward,
    target: Target,
) -> Imported:
    """Put the usable answers of logs into the store, which is made when there is one.

    A log is known by its first line, its reward and its tokenizer: the same log, which may have grown or got more
    feedback, adds only what is new.

    Args:
        paths: Files, which are one log.
        tokenizer: The model's.
        options: How they are read.
        reward: What answers are worth.
        target: Where they go.

    Raises:
        UserError: A file or the store cannot be read, or the reward function fails.
    """
    done = Imported(gather(paths, tokenizer, options))
    lots = done.gathered.shelf.lots()
    into: _Into | None = None
    while chunk := list(islice(lots, LOTS_AT_ONCE)):
        feedback = reward if isinstance(reward, FeedbackReward) else None
        found = [_Rows(lot, rows) for lot in chunk if (rows := _with_feedback(lot, feedback, done.left_out))]
        if found:
            into = into or _Into(done, options, reward, target)
            into.add(found, tokenizer)
    return done


def _with_feedback(lot: Lot, reward: FeedbackReward | None, left: LeftOut) -> list[tuple[ShelfRow, Scored | None]]:
    """Return the rows that have the feedback that is needed, with their scores."""
    if reward is None:
        return [(row, None) for row in lot.rows]
    found: list[tuple[ShelfRow, Scored | None]] = []
    for row in lot.rows:
        try:
            found.append((row, reward.scored(row.feedback)))
        except Unusable as problem:
            left.add(problem, row.place)
    return found


class _Into:
    """The store, and this import's run in it."""

    def __init__(
        self, done: Imported, options: LogOptions, reward: FeedbackReward | FunctionReward, target: Target
    ) -> None:
        self._done, self._reward = done, reward
        self._store = RolloutStore(target.store)
        key = digest("import", done.gathered.key, target.tokenizer, reward.version, options.version_column or "")
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
            self._reward_id = writing.add_reward(connection, reward.version, reward.description)
            self._versions = {
                version.number: writing.add_named_version(connection, run, name, created=version.last)
                for name, version in done.gathered.versions.items()
            }

    def add(self, found: Sequence[_Rows], tokenizer: Any) -> None:
        """Add the answers of some lots, as far as the store does not have them."""
        with self._store.reading() as connection:
            self._leave_known(connection, found)
        if isinstance(self._reward, FunctionReward):
            self._score(self._reward, found, tokenizer)
        new: dict[int, list[Sampled]] = {}
        for one in found:
            for place in range(0, len(one.rows), MOST_ROWS):
                number = _number(one.lot, one.next_group + place // MOST_ROWS)
                group = _group(one.lot, number, one.rows[place : place + MOST_ROWS])
                new.setdefault(self._versions[one.lot.version], []).append(group)
        if not new:
            return
        with self._store.writing() as connection:
            for version, groups in new.items():
                self._done.groups += writing.add_groups(connection, version, groups, self._reward_id)
        self._done.rows += sum(len(one.rows) for one in found)
        self._done.telling = (self._done.telling or 0) + sum(_telling(one.rows) for one in found)

    def _leave_known(self, connection: Connection, found: Sequence[_Rows]) -> None:
        """Take out the answers that an earlier import of the log has added: as many as there are equal ones."""
        open_lots = list(found)
        while open_lots:
            by_version: dict[int, dict[int, _Rows]] = {}
            for one in open_lots:
                by_version.setdefault(one.lot.version, {})[_number(one.lot, one.next_group)] = one
            open_lots = []
            for version, wanted in by_version.items():
                ids = writing.groups_by_number(connection, self._versions[version], list(wanted))
                stored = drawing.read_groups(connection, list(ids.values()), None)
                for number, drawn in zip(ids, stored, strict=True):
                    one = wanted[number]
                    self._done.known += len(one.rows)
                    one.rows = _without(one.rows, drawn.group)
                    self._done.known -= len(one.rows)
                    one.next_group += 1
                    open_lots.append(one)

    def _score(self, reward: FunctionReward, found: Sequence[_Rows], tokenizer: Any) -> None:
        rows = [(one, row) for one in found for row, _ in one.rows]
        if not rows:
            return
        ids = [np.frombuffer(row.data.ids, np.int32).tolist() for _, row in rows]
        texts = tokenizer.batch_decode(ids, skip_special_tokens=True)
        scores = reward.scored([json.loads(one.lot.columns) for one, _ in rows], texts, ids)
        for one in found:
            one.rows = []
        for (one, row), score in zip(rows, scores, strict=True):
            if score is None:
                self._done.left_out.add(Unusable(left_out.NO_SCORE), row.place)
            else:
                one.rows.append((row, score))


def _number(lot: Lot, group: int) -> int:
    """Return the number of a group of a lot: below 2^62, and the same in every import of the log."""
    return int(digest(lot.prompt, str(lot.part), str(group))[:16], 16) >> 2


def _telling(rows: Sequence[tuple[ShelfRow, Scored | None]]) -> int:
    """Return how many of the groups of a lot's new rows can be drawn."""
    scores = [scored.score for _, scored in rows if scored is not None]
    return sum(writing.has_signal(scores[place : place + MOST_ROWS]) for place in range(0, len(scores), MOST_ROWS))


def _without(rows: list[tuple[ShelfRow, Scored | None]], stored: Group) -> list[tuple[ShelfRow, Scored | None]]:
    known = Counter(
        (row.response_ids.numpy().astype(np.int32).tobytes(), row.rollout_log_probs.numpy().tobytes())
        for row in stored.rollouts
    )
    left = []
    for row, score in rows:
        this = (row.data.ids, row.data.log_probs)
        if known[this]:
            known[this] -= 1
        else:
            left.append((row, score))
    return left


def _group(lot: Lot, number: int, rows: Sequence[tuple[ShelfRow, Scored | None]]) -> Sampled:
    rollouts, parts = [], []
    for row, scored in rows:
        assert scored is not None, "rows without a score have been left out"
        ids = torch.from_numpy(np.frombuffer(row.data.ids, np.int32).astype(np.int64))
        log_probs = torch.from_numpy(np.frombuffer(row.data.log_probs, np.float32).copy())
        rollouts.append(Rollout(ids, torch.ones(len(ids), dtype=torch.bool), log_probs, 0.0, scored.score))
        parts.append(scored.parts)
    prompt_ids = torch.from_numpy(np.frombuffer(lot.prompt_ids, np.int32).astype(np.int64))
    return Sampled(
        Group(number, lot.version, prompt_ids, rollouts),
        json.loads(lot.columns),
        parts,
        lot.temperature,
        [row.data.ended for row, _ in rows],
        max(row.data.time for row, _ in rows),
    )
