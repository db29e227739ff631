"""Layout of rows with a prompt, an answer and optionally a difficulty."""

from __future__ import annotations

from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, answer_of, prompt_of


def plain(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row with user-defined columns.

    Returns:
        The problem; all other columns are in its metadata. If prompt and answer are the same column, there is no
        answer.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    for option in ("prompt", "answer"):
        column = getattr(columns, option)
        if column not in record:
            raise BadRow(
                f"has no column {column!r}, its columns are {', '.join(map(repr, record)) or 'none'}: set "
                f"data.{option}_column to one of them, or data.schema to the layout of your rows"
            )
    difficulty = record.get(columns.difficulty)
    used = (columns.prompt, columns.answer, columns.difficulty)
    return PromptRow(
        prompt=prompt_of(record, columns.prompt),
        answer="" if columns.answer == columns.prompt else answer_of(record, columns.answer),
        difficulty="all" if difficulty in (None, "") else str(difficulty),
        metadata={key: value for key, value in record.items() if key not in used and value is not None},
    )
