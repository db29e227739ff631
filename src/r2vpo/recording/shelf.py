"""A place on the disk for the rows of a log of any length, which gives them back in the order of their prompts.

It is a private database of SQLite that vanishes with the process, so that memory stays bounded.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, NamedTuple

from r2vpo.recording.left_out import Place
from r2vpo.store.encoding import digest

MOST_ROWS = 1024
"""Rows of a lot: as much as is in memory at once of a prompt that a log has very often."""


class Prompt(NamedTuple):
    """What is equal in all answers of a lot.

    Attributes:
        version: Number of the policy version in the log.
        ids: Tokens, int32.
        temperature: What was sampled at.
    """

    version: int
    ids: bytes
    temperature: float


class Data(NamedTuple):
    """An answer: tokens, int32; log-probs, float32; whether it ended by itself; seconds since 1970."""

    ids: bytes
    log_probs: bytes
    ended: bool | None
    time: float


@dataclass(frozen=True)
class ShelfRow:
    """An answer on the shelf.

    Attributes:
        place: Where the log has it.
        data: What it is.
        columns: The row of the data, JSON.
        feedback: What was said of it.
    """

    place: Place
    data: Data
    columns: str
    feedback: Mapping[str, Any] | None


@dataclass(frozen=True)
class Lot:
    """Answers to one prompt.

    Attributes:
        version: Number of the policy version in the log.
        prompt: Digest of what is equal in all of them.
        part: The number of the lot, of a prompt that has several.
        prompt_ids: Tokens of the prompt, int32.
        temperature: What was sampled at.
        rows: The answers in the order of the log.
    """

    version: int
    prompt: str
    part: int
    prompt_ids: bytes
    temperature: float
    rows: list[ShelfRow]


class Shelf:
    """Rows in the order of their prompts; see the module."""

    def __init__(self) -> None:
        self._database = sqlite3.connect("", isolation_level=None)
        self._database.executescript(
            """
            PRAGMA journal_mode = OFF;
            PRAGMA synchronous = OFF;
            BEGIN;
            CREATE TABLE prompts (digest TEXT PRIMARY KEY, ids BLOB, temperature REAL) WITHOUT ROWID;
            CREATE TABLE answers (version INT, prompt TEXT, file INT, line INT, name TEXT UNIQUE, response TEXT,
                ids BLOB, log_probs BLOB, ended INT, time REAL, columns TEXT, feedback TEXT);
            CREATE TABLE feedback (number INTEGER PRIMARY KEY, response TEXT, name TEXT, given TEXT);
            CREATE INDEX of_response ON feedback (response);
            """
        )

    def add(
        self,
        place: Place,
        prompt: Prompt,
        data: Data,
        columns: str,
        *,
        name: str | None,
        response: str | None,
        feedback: Mapping[str, Any] | None,
    ) -> bool:
        """Add an answer.

        Args:
            place: Where the log has it.
            prompt: What it answers.
            data: What it is.
            columns: The row of the data, JSON.
            name: What no second answer may be called; None if it has no name.
            response: The response's id, by which feedback names it.
            feedback: What its own line says of it.

        Returns:
            False if an answer of this name is there.
        """
        key = digest(prompt.ids, str(prompt.temperature))
        self._database.execute("INSERT OR IGNORE INTO prompts VALUES (?, ?, ?)", (key, *prompt[1:]))
        given = None if feedback is None else json.dumps(feedback)
        done = self._database.execute(
            "INSERT OR IGNORE INTO answers VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (prompt.version, key, *place, name, response, *data, columns, given),
        )
        return done.rowcount == 1

    def add_feedback(self, response: str, given: Mapping[str, Any], *, name: str | None = None) -> None:
        """Add feedback on a response, which may come before or after it; later feedback replaces earlier.

        Args:
            response: The response's id.
            given: What is said of it.
            name: Of the only answer of the response that is meant; None means all of them.
        """
        said = (response, name, json.dumps(given))
        self._database.execute("INSERT INTO feedback (response, name, given) VALUES (?, ?, ?)", said)

    def lots(self) -> Iterator[Lot]:
        """Yield all answers, those to one prompt together."""
        found = self._database.execute(
            """
            SELECT version, prompt, file, line, ids, log_probs, ended, time, columns, feedback, (
                SELECT json_group_array(given) FROM (
                    SELECT given FROM feedback WHERE feedback.response = answers.response
                        AND (feedback.name IS NULL OR feedback.name = answers.name) ORDER BY number))
            FROM answers ORDER BY version, prompt, file, line, rowid
            """
        )
        for (version, key), rows in groupby(found, key=itemgetter(0, 1)):
            ids, temperature = self._database.execute(
                "SELECT ids, temperature FROM prompts WHERE digest = ?", (key,)
            ).fetchone()
            several = groupby(enumerate(rows), key=lambda numbered: numbered[0] // MOST_ROWS)
            for part, some in several:
                yield Lot(version, key, part, ids, temperature, [_row(*row[2:]) for _, row in some])


def _row(
    file: int,
    line: int,
    ids: bytes,
    log_probs: bytes,
    ended: int | None,
    time: float,
    columns: str,
    own: str | None,
    later: str,
) -> ShelfRow:
    said = [json.loads(one) for one in ([] if own is None else [own]) + json.loads(later)]
    feedback = {name: value for part in said for name, value in part.items()} if said else None
    data = Data(ids, log_probs, None if ended is None else bool(ended), time)
    return ShelfRow(Place(file, line), data, columns, feedback)
