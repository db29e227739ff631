"""Which columns of a user's data are the prompt and the answer."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r2vpo.errors import UserError

QUESTIONS = ("prompt", "question", "problem", "instruction", "query")
PROMPT_NAMES = (*QUESTIONS, "input", "messages", "task", "text", "content")
ANSWER_NAMES = (
    "answer", "final_answer", "ground_truth", "gold", "target", "label", "expected", "expected_answer", "reference",
    "result", "solution", "output", "response", "completion", "code", "canonical_solution",
)  # fmt: skip


def prompt_column_of(
    path: str, records: Sequence[Mapping[str, Any]], columns: list[str], answer: str | None, notes: list[str]
) -> str:
    """Return the column of the prompt; a note says which one was taken where there was a choice.

    Args:
        path: what the user named.
        records: the rows.
        columns: their columns.
        answer: the column that the user says is the answer, or None.
        notes: receives the note.

    Raises:
        UserError: no column can be a prompt.
    """
    usable = [name for name in columns if _share(records, name, is_prompt) >= 0.5]
    others = [name for name in usable if name != answer]
    if answer in usable and (not others or (answer.lower() in QUESTIONS and not _named(others, QUESTIONS))):
        return answer  # a reward that needs no answer has the prompt as one
    usable = others
    if not usable:
        raise UserError(
            f"{path} has no column that can be a prompt, a text or a list of messages; it has "
            f"{_described(records[0])}: write one object per row, with a column for the prompt"
        )
    named = _named(usable, PROMPT_NAMES)
    longest = max(usable, key=lambda name: sum(len(str(record.get(name) or "")) for record in records[:200]))
    chosen = named[0] if named else longest
    others = [name for name in (named or usable) if name != chosen]
    if others or not named:
        alternatives = f", not {', '.join(map(repr, others[:3]))}" if others else ""
        notes.append(f"the prompt is the column {chosen!r}{alternatives}: --prompt-column takes another")
    return chosen


def answer_column_of(
    path: str, records: Sequence[Mapping[str, Any]], columns: list[str], prompt: str, notes: list[str]
) -> str:
    """Return the column of the answer; a note says which one was taken where there was a choice.

    Args:
        path: what the user named.
        records: the rows.
        columns: their columns.
        prompt: the column of the prompt.
        notes: receives the note.

    Raises:
        UserError: no column is clearly the answer.
    """
    usable = [name for name in columns if name != prompt and _share(records, name, is_answer) >= 0.5]
    named = _named(usable, ANSWER_NAMES)
    if not named and len(usable) != 1:
        which = f"; {', '.join(map(repr, usable))} could be" if usable else ""
        raise UserError(
            f"{path} has no column that is clearly the reference answer, a text or a number; it has "
            f"{_described(records[0])}{which}: name it with --answer-column. If your reward needs no answer, name the "
            f"prompt's column: --answer-column {prompt}"
        )
    chosen = named[0] if named else usable[0]
    if others := [name for name in named if name != chosen]:
        alternatives = ", ".join(map(repr, others[:3]))
        notes.append(f"the answer is the column {chosen!r}, not {alternatives}: --answer-column takes another")
    elif not named:
        notes.append(f"the answer is the column {chosen!r}, the only one left: --answer-column takes another")
    return chosen


def solution_column_of(records: Sequence[Mapping[str, Any]], columns: list[str], prompt: str) -> str:
    """Return the column of the solutions of rows with tests, which need no answer; that of the prompt if there is none.

    Args:
        records: the rows.
        columns: their columns.
        prompt: the column of the prompt.
    """
    usable = [name for name in columns if name != prompt and _share(records, name, is_answer) == 1]
    return next(iter(_named(usable, ANSWER_NAMES)), prompt)


def _named(columns: Sequence[str], names: Sequence[str]) -> list[str]:
    """Return the columns that have one of several names, in the order of the names."""
    return [column for wanted in names for column in columns if column.lower() == wanted]


def is_prompt(value: Any) -> bool:
    """Whether a value is a text or a list of messages."""
    if isinstance(value, list):
        return bool(value) and all(isinstance(one, Mapping) and {"role", "content"} <= one.keys() for one in value)
    return isinstance(value, str) and bool(value.strip())


def is_answer(value: Any) -> bool:
    """Whether a value is a text or a number."""
    if isinstance(value, bool) or (isinstance(value, float) and not math.isfinite(value)):
        return False
    return isinstance(value, int | float) or (isinstance(value, str) and bool(value.strip()))


def _share(records: Sequence[Mapping[str, Any]], name: str, fits: Any) -> float:
    return sum(bool(fits(record.get(name))) for record in records) / len(records)


def _described(record: Mapping[str, Any]) -> str:
    kinds = {str: "text", bool: "true or false", int: "number", float: "number", list: "list", dict: "nested"}
    return ", ".join(f"{name!r} ({kinds.get(type(value), 'nothing')})" for name, value in record.items()) or "none"
