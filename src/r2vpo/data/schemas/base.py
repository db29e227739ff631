"""Common parts of all layouts, and access to the values of rows."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from r2vpo.data.rows import Prompt, PromptRow

Record = Mapping[str, Any]


class BadRow(Exception):
    """Raised for a row that cannot be read; names the column, the problem and the fix, but not where the row is."""


@dataclass(frozen=True)
class Skip:
    """A row that is well-formed but not usable as a training problem.

    Attributes:
        reason: why, worded to follow a number: `3 without a boxed answer`.
    """

    reason: str


@dataclass(frozen=True)
class Columns:
    """Names of the columns of the layouts `plain` and `pairs`."""

    prompt: str = "prompt"
    answer: str = "answer"
    difficulty: str = "difficulty"
    chosen: str = "chosen"
    rejected: str = "rejected"


@dataclass(frozen=True)
class Schema:
    """A layout of rows.

    Attributes:
        read: function from a row, and the columns that `plain` reads, to a problem or the reason why there is none;
            raises `BadRow`.
        prompt_is_made: every prompt is the same text with different numbers, so shared words mean nothing.
        has_examples: rows hold an answer that could be shown in a solved example.
    """

    read: Callable[[Record, Columns], PromptRow | Skip]
    prompt_is_made: bool = False
    has_examples: bool = True


def value_of(record: Record, *columns: str) -> Any:
    """Return the value of the first of several columns that the row has.

    Raises:
        BadRow: the row has none of them, or only null values.
    """
    for column in columns:
        if record.get(column) is not None:
            return record[column]
    for column in columns:
        if column in record:
            raise BadRow(f"{column!r} is null: give it a value, or remove the row")
    named = " or ".join(map(repr, columns))
    raise BadRow(
        f"has no column {named}, its columns are {', '.join(map(repr, record)) or 'none'}: set data.schema to the "
        "layout of your rows, or to plain with data.prompt_column and data.answer_column"
    )


def text_of(record: Record, *columns: str) -> str:
    """Return a non-empty text, without white space at both ends, from the first of several columns that the row has.

    Raises:
        BadRow: there is no such column, or it does not hold text.
    """
    value = value_of(record, *columns)
    if isinstance(value, str) and value.strip():
        return value.strip()
    raise BadRow(f"{_name(record, columns)!r} is {shown(value)}: write a text that is not empty")


def optional_text_of(record: Record, *columns: str) -> str:
    """Return the text of the first of several columns that the row has, unchanged; an empty text if it has none.

    Raises:
        BadRow: the column holds something else.
    """
    if all(record.get(column) is None for column in columns):
        return ""
    text_of(record, *columns)
    return str(value_of(record, *columns))


def answer_of(record: Record, *columns: str) -> str:
    """Return an answer, a text or a number, from the first of several columns that the row has.

    Raises:
        BadRow: there is no such column, or it holds neither.
    """
    value = value_of(record, *columns)
    # A whole number may be too large to be asked as a float whether it is finite.
    is_number = (isinstance(value, int) and not isinstance(value, bool)) or (
        isinstance(value, float) and math.isfinite(value)
    )
    if is_number or (isinstance(value, str) and value.strip()):
        return str(value)
    raise BadRow(f"{_name(record, columns)!r} is {shown(value)}: write a string or a number")


def prompt_of(record: Record, column: str) -> Prompt:
    """Return a prompt: a text, or a list of chat messages.

    Raises:
        BadRow: there is no such column, or it holds neither.
    """
    value = value_of(record, column)
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(_is_message(message) for message in value):
        return [{"role": message["role"], "content": message["content"]} for message in value]
    raise BadRow(
        f"{column!r} is {shown(value)}; it must be a text that is not empty, or a list of chat messages "
        '{"role": ..., "content": ...}: correct that row'
    )


def texts_of(record: Record, column: str) -> list[str]:
    """Return a list of at least one text.

    Raises:
        BadRow: there is no such column, or it holds something else.
    """
    value = value_of(record, column)
    if isinstance(value, list) and value and all(isinstance(item, str) for item in value):
        return value
    raise BadRow(f"{column!r} is {shown(value)}: write a list of one text or more")


def rest_of(record: Record, *names: str) -> dict[str, Any]:
    """Return those of several columns that a row has, for the metadata."""
    return {name: record[name] for name in names if record.get(name) is not None}


def shown(value: Any) -> str:
    """Format a value for an error message, truncated if it is long."""
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _name(record: Record, columns: tuple[str, ...]) -> str:
    return next(column for column in columns if record.get(column) is not None)


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))
