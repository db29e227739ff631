"""The first pass over a log: each answer is checked and put on the shelf."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from r2vpo.recording import left_out
from r2vpo.recording.answers import Answer, answer_name, exchange_of
from r2vpo.recording.left_out import LeftOut, Place, Reason, Unusable, only_known_forms
from r2vpo.recording.lines import LOG, at_path, is_index, lines_of, row_in, time_of
from r2vpo.recording.parameters import LogProbsOf, temperature_of
from r2vpo.recording.shelf import Data, Prompt, Shelf
from r2vpo.recording.tokens import TextCheck
from r2vpo.store.encoding import as_json, digest

UNNAMED = "unnamed"
"""What a version is called whose name is not in the log."""


@dataclass(frozen=True)
class LogOptions:
    """How a log is read.

    Attributes:
        log_probs_of: The distribution whose log-probs the server returns.
        defaults: What the server uses for sampling parameters that a request does not give.
        columns: Paths of what becomes the row of the data, by name.
        version_column: Path of what tells policy versions apart; None means the model's name.
    """

    log_probs_of: LogProbsOf = "model"
    defaults: Mapping[str, Any] = field(default_factory=dict)
    columns: Mapping[str, str] = field(default_factory=dict)
    version_column: str | None = None


@dataclass
class Version:
    """A policy version in a log.

    Attributes:
        number: Its place in the order in which versions appear.
        first: Time of its first answer, in seconds since 1970.
        last: Time of its last answer.
    """

    number: int
    first: float
    last: float


@dataclass
class Gathered:
    """What a log has.

    Attributes:
        shelf: The usable answers.
        left_out: The others.
        read: Answers, and lines that have none.
        versions: By what the log calls them, in the order of the log.
        key: Digest of the log's first line, by which it is known again when it has grown.
        recorded: Whether the proxy has written it.
    """

    shelf: Shelf = field(default_factory=Shelf)
    left_out: LeftOut = field(default_factory=LeftOut)
    read: int = 0
    versions: dict[str, Version] = field(default_factory=dict)
    key: str = ""
    recorded: bool = False


@dataclass(frozen=True)
class _Found:
    place: Place
    answer: Answer
    row: Mapping[str, Any]
    columns: Mapping[str, Any]
    version: str
    temperature: float
    time: float
    parameters: Mapping[str, Any]


def gather(paths: Sequence[Path], tokenizer: Any, options: LogOptions) -> Gathered:
    """Read logs.

    Args:
        paths: Files.
        tokenizer: The model's.
        options: How they are read.

    Raises:
        UserError: A file cannot be read.
    """
    gathered = Gathered()
    check = TextCheck(tokenizer)
    for found in _answers(paths, options, gathered):
        specials = found.parameters.get("skip_special_tokens") is False
        try:
            with only_known_forms():
                problem = check.problem(found.answer, skip_special_tokens=not specials)
                if problem is None and not _put(gathered, found):
                    problem = Unusable(left_out.TWICE, str(found.answer.id)[:60])
        except Unusable as unusable:
            problem = unusable
        if problem is not None:
            gathered.left_out.add(problem, found.place)
    return gathered


def _answers(paths: Sequence[Path], options: LogOptions, gathered: Gathered) -> Iterator[_Found]:
    """Yield what each line has, and note what is left out."""
    now = time.time()
    for place, text in lines_of(paths):
        gathered.key = gathered.key or digest(text.strip())
        try:
            with only_known_forms():
                row = row_in(text)
                if LOG in row:
                    gathered.recorded = True
                    continue
                if row.keys() >= {"id", "feedback"} and not row.keys() & {"response", "token_ids"}:
                    _note_feedback(gathered.shelf, row)
                    continue
                exchange = exchange_of(row)
        except Unusable as problem:
            gathered.read += 1
            gathered.left_out.add(problem, place)
            continue
        created = time_of(exchange.row, exchange.created)
        label = exchange.model if options.version_column is None else at_path(exchange.row, options.version_column)
        for read in exchange.answers:
            gathered.read += 1
            try:
                with only_known_forms():
                    found = _Found(
                        place,
                        read(),
                        exchange.row,
                        _columns(exchange.row, options.columns),
                        UNNAMED if label is None else str(label),
                        temperature_of(exchange.parameters, options.defaults, options.log_probs_of),
                        now if created is None else created,
                        exchange.parameters,
                    )
            except Unusable as problem:
                gathered.left_out.add(problem, place)
            else:
                yield found


def _note_feedback(shelf: Shelf, row: Mapping[str, Any]) -> None:
    if not isinstance(row["feedback"], dict):
        raise Unusable(left_out.NOT_A_NUMBER, f"feedback is {row['feedback']!r}"[:60])
    response, index = str(row["id"]), row.get("index")
    if index is not None and not is_index(index):
        raise Unusable(left_out.NOT_A_NUMBER, f"index is {index!r}"[:60])
    shelf.add_feedback(response, row["feedback"], name=None if index is None else answer_name(response, index))


def _columns(row: Mapping[str, Any], paths: Mapping[str, str]) -> dict[str, Any]:
    found = {name: at_path(row, path) for name, path in paths.items()}
    for name, value in found.items():
        if value is None:
            raise Unusable(Reason(f"no column {paths[name]}", "log it, or leave it out of --columns"))
    return found


def _put(gathered: Gathered, found: _Found) -> bool:
    """Put an answer on the shelf; return False if it is there already."""
    answer, feedback = found.answer, found.row.get("feedback")
    version = gathered.versions.get(found.version, Version(len(gathered.versions), found.time, found.time))
    added = gathered.shelf.add(
        found.place,
        Prompt(
            version.number,
            np.array(answer.prompt_ids, np.int32).tobytes(),
            found.temperature,
        ),
        Data(
            np.array(answer.ids, np.int32).tobytes(),
            np.array(answer.log_probs, np.float32).tobytes(),
            answer.ended,
            found.time,
        ),
        as_json({"prompt": answer.prompt, **found.columns}),
        name=answer.id,
        response=answer.response,
        feedback=feedback if isinstance(feedback, dict) else None,
    )
    if added:
        gathered.versions[found.version] = version
        version.first, version.last = min(version.first, found.time), max(version.last, found.time)
    return added
