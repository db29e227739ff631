"""Look at a user's data: its schema, which columns are prompt and answer, and what kind the answers are."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

from r2vpo.core.nearest import did_you_mean
from r2vpo.data.hub import read_rows
from r2vpo.data.options import SchemaName
from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas import SCHEMAS, BadRow, Columns, Skip
from r2vpo.data.schemas.base import shown
from r2vpo.errors import UserError
from r2vpo.planning.own_columns import answer_column_of, is_answer, is_prompt, prompt_column_of, solution_column_of
from r2vpo.planning.own_tests import find_tests, problem_with_tests

TRIED = 20
"""Problems that rewards are tried on."""
MOST_ROWS = 50_000
"""Rows that are looked at; the rest of a larger data set is assumed to be like them."""

_MARKS: dict[SchemaName, tuple[str, ...]] = {
    "ifeval": ("instruction_id_list",),
    "countdown": ("nums", "target"),
    "humaneval": ("entry_point", "test"),
    "mbpp": ("test_list",),
    "dapo_math": ("reward_model",),
    "gsm8k": ("question", "answer"),
    "numina_math": ("problem", "solution", "source"),
    "math": ("problem", "solution"),
}
"""Columns without which rows are not tried with a schema; the first schema that reads all of them is taken."""
_NUMBER = re.compile(r"[-+]?[$€£]?\d[\d,]*(\.\d+)?\s?%?")
_LETTER = re.compile(r"\(?[A-Ja-j]\)?\.?")
_FORMULA = re.compile(r"\\[a-zA-Z]+|\^|\$|(?<=\d)/(?=\d)|√|π")
_SHORT = 40


@dataclass(frozen=True)
class OwnData:
    """What was found.

    Attributes:
        path: what the user named.
        subset: subset of a data set that has several.
        split: split; None means `train`.
        rows: the problems, in their order; rows that the schema skips are not among them.
        cut: whether there are more rows than were looked at.
        columns: the columns of the first row.
        schema: how rows are read.
        prompt_column: the column of the prompt; only schema `plain` has one.
        answer_column: the same for the answer.
        tests: columns of the schema `plain` whose tests the reward `code` can use.
        skipped: rows that the schema skips, by reason.
        notes: which columns were taken where there was a choice, one line each.
    """

    path: str
    subset: str | None
    split: str | None
    rows: list[PromptRow]
    cut: bool
    columns: list[str]
    schema: SchemaName
    prompt_column: str | None
    answer_column: str | None
    tests: list[str]
    skipped: dict[str, int]
    notes: list[str]

    @property
    def distinct(self) -> int:
        """Number of different prompts."""
        return len({row.key() for row in self.rows})

    @property
    def is_chat(self) -> bool:
        """Whether the prompts are lists of messages."""
        return isinstance(self.rows[0].prompt, list)


def look_at(
    path: str, *, subset: str | None, split: str | None, prompt_column: str | None, answer_column: str | None
) -> OwnData:
    """Read a data set and find out how a recipe has to read it.

    Args:
        path: a file, a folder or a name on the hub.
        subset: subset of a data set that has several.
        split: split; None means `train`.
        prompt_column: the column that the user says is the prompt; None looks for it.
        answer_column: the same for the answer.

    Raises:
        UserError: it cannot be read, has no column for prompt or answer, or rows that cannot be used. One line.
    """
    read = read_rows(path, subset=subset, split=split, revision=None, key="")
    found = list(islice(read, MOST_ROWS + 1))
    located, cut = found[:MOST_ROWS], len(found) > MOST_ROWS
    records = [record for _, record in located]
    columns = list(dict.fromkeys(name for record in records for name in record))
    for option, name in (("--prompt-column", prompt_column), ("--answer-column", answer_column)):
        if name is not None and name not in columns:
            known = ", ".join(map(repr, columns))
            meant = did_you_mean(name, columns, ": name one of them", show=repr)
            raise UserError(f"{option} {name}: {path} has no such column, it has {known}{meant}")
    if {"chosen", "rejected"} <= set(columns):
        raise UserError(
            f"{path} is preference data (columns 'chosen' and 'rejected'), and new writes recipes for prompts whose "
            "completions are scored: write one of trainer.kind dpo with data.source preferences, as in "
            "docs/guide/preferences.md, or remove these two columns to train on a reward"
        )
    notes: list[str] = []
    tests: list[str] = []
    schema: SchemaName = "plain"
    if prompt_column is None and answer_column is None:
        schema = _schema_of(records, columns)
    if schema == "plain":
        tests = find_tests(located, notes)
        prompt_column = prompt_column or prompt_column_of(path, records, columns, answer_column, notes)
        if answer_column is None and tests:
            answer_column = solution_column_of(records, columns, prompt_column)
        answer_column = answer_column or answer_column_of(path, records, columns, prompt_column, notes)
        if answer_column == prompt_column:
            notes.append(f"the column {prompt_column!r} is prompt and answer, so that the rows have no answer")
        _refuse_missing(path, located, prompt_column, answer_column)
    rows, skipped = _problems(located, schema, Columns(prompt_column or "", answer_column or ""))
    if not rows:
        raise UserError(f"{path}: none of its {len(records)} rows is a problem of the schema {schema}: {dict(skipped)}")
    _refuse_answered(path, rows[0])
    if tests and (problem := problem_with_tests(rows[:TRIED], tests)):
        notes.append(problem)
        tests = []
    return OwnData(
        path, subset, split, rows, cut, columns, schema, prompt_column, answer_column, tests, dict(skipped), notes
    )


def kind_of_answers(answers: Sequence[str]) -> str:
    """Return what answers are: `choice`, `number`, `formula`, `short` (a few words) or `text`.

    Args:
        answers: at least one.
    """
    given = [answer.strip() for answer in answers]
    if all(_LETTER.fullmatch(answer) for answer in given) and len(set(map(str.lower, given))) > 1:
        return "choice"
    if all(_NUMBER.fullmatch(answer) for answer in given):
        return "number"
    if sum(bool(_NUMBER.fullmatch(answer) or _FORMULA.search(answer)) for answer in given) >= 0.8 * len(given):
        return "formula"
    return "short" if all(len(answer) <= _SHORT and "\n" not in answer for answer in given) else "text"


def _schema_of(records: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> SchemaName:
    """Return the first known schema that reads all of the first rows, at least one of them as a problem."""
    for schema, marks in _MARKS.items():
        if not set(marks) <= set(columns):
            continue
        try:
            found = [SCHEMAS[schema].read(record, Columns()) for record in records[:100]]
        except BadRow:
            continue
        if any(isinstance(one, PromptRow) for one in found):
            return schema
    return "plain"


def _refuse_missing(path: str, located: Sequence[tuple[str, Mapping[str, Any]]], prompt: str, answer: str) -> None:
    """Refuse rows without a prompt or an answer; a run would end at the first of them."""
    for column, fits in ((prompt, is_prompt), *([(answer, is_answer)] if answer != prompt else [])):
        wrong = [(where, record.get(column)) for where, record in located if not fits(record.get(column))]
        if wrong:
            where, value = wrong[0]
            raise UserError(
                f"{path}: {len(wrong)} of {len(located)} rows have no usable {column!r}, the first is {where} with "
                f"{shown(value)}: correct or remove them, or take another column with "
                f"--{'prompt' if column == prompt else 'answer'}-column"
            )


def _refuse_answered(path: str, row: PromptRow) -> None:
    if isinstance(row.prompt, list) and row.prompt[-1]["role"] == "assistant":
        raise UserError(
            f"{path}: its conversations end with an answer of the assistant, so there is nothing to complete: leave "
            "out the last message of each, and write the right answer into a separate column"
        )


def _problems(
    located: Sequence[tuple[str, Mapping[str, Any]]], schema: SchemaName, columns: Columns
) -> tuple[list[PromptRow], Counter[str]]:
    rows, skipped = [], Counter[str]()
    for where, record in located:
        try:
            found = SCHEMAS[schema].read(record, columns)
        except BadRow as error:
            raise UserError(f"{where}: {error}") from None
        if isinstance(found, Skip):
            skipped[found.reason] += 1
        else:
            rows.append(found)
    return rows, skipped
