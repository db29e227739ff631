"""The lines of logs: JSON Lines, plain or compressed with gzip."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from r2vpo.errors import UserError
from r2vpo.recording import left_out
from r2vpo.recording.left_out import Place, Unusable

LOG = "r2vpo_log"
"""The key of the first line of the proxy's files; its value is the same in all files of one store."""


def lines_of(paths: Sequence[Path]) -> Iterator[tuple[Place, bytes]]:
    """Yield the lines of files that are not empty, with their places; one at a time is in memory.

    Raises:
        UserError: A file cannot be read.
    """
    for number, path in enumerate(paths):
        try:
            with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
                for line, text in enumerate(file, 1):
                    if not text.isspace():
                        yield Place(number, line), text
        except (OSError, EOFError) as error:
            why = getattr(error, "strerror", None) or str(error)
            raise UserError(f"{path}: {why}: name files of JSON Lines that can be read") from error


def row_in(text: bytes | str) -> dict[str, Any]:
    """Return the JSON object of a line.

    Raises:
        Unusable: It is not one.
    """
    try:
        row = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise Unusable(left_out.NOT_JSON, str(error)[:60]) from error
    if not isinstance(row, dict):
        raise Unusable(left_out.NOT_JSON, repr(text[:40]))
    return row


def at_path(row: Any, path: str) -> Any:
    """Return what a row has under a path such as `metadata.answer`, or None."""
    for name in path.split("."):
        row = row.get(name) if isinstance(row, dict) else None
    return row


def is_index(value: Any) -> bool:
    """Return whether a value can be the number of an answer in its response."""
    return type(value) is int and value >= 0


def time_of(row: Mapping[str, Any], created: Any) -> float | None:
    """Return when a row was logged, in seconds since 1970.

    Args:
        row: With `time`, in seconds or in ISO 8601.
        created: When the response was created, which counts if the row does not say.
    """
    for found in (row.get("time"), created):
        try:
            if isinstance(found, int | float) and not isinstance(found, bool):
                return datetime.fromtimestamp(found, UTC).timestamp()
            if isinstance(found, str):
                moment = datetime.fromisoformat(found)
                return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError, OSError):  # milliseconds are no time in seconds before the year 10000
            continue
    return None
