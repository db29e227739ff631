"""Answers of a log that the store has already, recognised by prompt, tokens and log-probs."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sqlalchemy import Connection

from r2vpo.recording.scoring import Scored
from r2vpo.recording.shelf import Lot, ShelfRow
from r2vpo.replay.group import Group
from r2vpo.store import asking, changing, drawing
from r2vpo.store.encoding import digest

INDEX_BITS = 20
"""Bits of a group's number that count the groups of a lot; the other 42 are the lot's."""

Row = tuple[ShelfRow, Scored | None]
"""An answer of the log; its score is None until a function has scored it."""


@dataclass
class KnownGroup:
    """A group in the store that answers of a log are in.

    Attributes:
        id: Its id.
        version: Its policy version's id.
        index: Its place among the groups of its lot.
        group: Prompt and rows.
        columns: The row of the data.
        scores: What this reward said of each row so far.
        found: The rows that the log has, by position.
    """

    id: int
    version: int
    index: int
    group: Group
    columns: Mapping[str, Any]
    scores: Sequence[Scored | None]
    found: dict[int, Row] = field(default_factory=dict)

    @property
    def is_scored(self) -> bool:
        """Return whether the reward has scored all rows."""
        return None not in self.scores

    @property
    def new_columns(self) -> dict[str, Any] | None:
        """Return the row of the data with what the log has now; None if nothing is new, or it differs between rows."""
        changed = [self._with_columns_of(row) for row, _ in self.found.values()]
        same = len(changed) == len(self.group) and all(one == changed[0] for one in changed)
        return changed[0] if same and changed[0] != self.columns else None

    def has_other_columns(self, row: ShelfRow) -> bool:
        """Return whether the log has other columns of an answer than the store."""
        return self._with_columns_of(row) != self.columns

    def _with_columns_of(self, row: ShelfRow) -> dict[str, Any]:
        return {**self.columns, **json.loads(row.columns)}

    def merged(self) -> list[Scored] | None:
        """Return the scores of all rows, with those that the log has now; None if a row has none."""
        now = [self.found[place][1] if place in self.found else None for place in range(len(self.group))]
        scores = [new or old for new, old in zip(now, self.scores, strict=True)]
        return None if None in scores else [score for score in scores if score is not None]


def number_of(lot: Lot, index: int) -> int:
    """Return the number of a group of a lot: below 2^62, and the same in every import of the log."""
    return (int(digest(lot.prompt, str(lot.part))[:16], 16) >> (2 + INDEX_BITS) << INDEX_BITS) + index


def known_groups(connection: Connection, version: int, lots: Sequence[Lot], reward: str) -> dict[str, list[KnownGroup]]:
    """Return the groups that earlier imports of the log have added to a policy version.

    Args:
        connection: Any.
        version: The version's id.
        lots: Whose answers are looked for.
        reward: Version of the reward.

    Returns:
        By `key_of` of a lot, those that the reward has scored first.
    """
    starts = {number_of(lot, 0): key_of(lot) for lot in lots}
    ids = changing.groups_from(connection, version, list(starts), 1 << INDEX_BITS)
    stored = drawing.read_groups(connection, list(ids.values()), None)
    scores: dict[int, list[list[asking.Scored]]] = {}
    for some in drawing.in_chunks(ids.values()):
        scores |= asking.scores_of(connection, some)
    found: dict[str, list[KnownGroup]] = {}
    for number, one in zip(ids, stored, strict=True):
        known = [next((_as_read(said) for said in row if said.reward == reward), None) for row in scores[ids[number]]]
        index = number % (1 << INDEX_BITS)
        group = KnownGroup(ids[number], version, index, one.group, one.columns, known)
        found.setdefault(starts[number - index], []).append(group)
    return {key: sorted(some, key=lambda group: (not group.is_scored, group.index)) for key, some in found.items()}


def key_of(lot: Lot) -> str:
    """Return what tells a lot from the others of its version."""
    return f"{lot.prompt}/{lot.part}"


def without_known(rows: Sequence[Row], groups: Sequence[KnownGroup]) -> list[Row]:
    """Return the rows that are in none of the groups, and note in each group those that are: equal ones by number."""
    places: dict[tuple[bytes, bytes], list[tuple[KnownGroup, int]]] = {}
    for group in groups:
        for place, one in enumerate(group.group.rollouts):
            key = (one.response_ids.numpy().astype(np.int32).tobytes(), one.rollout_log_probs.numpy().tobytes())
            places.setdefault(key, []).append((group, place))
    left = []
    for row, scored in rows:
        same = places.get((row.data.ids, row.data.log_probs))
        if same:
            group, place = same.pop(0)
            group.found[place] = (row, scored)
        else:
            left.append((row, scored))
    return left


def _as_read(said: asking.Scored) -> Scored:
    return Scored(said.score, {name: value for name, value in said.parts.items() if value is not None})
