"""Problems from a file of JSON objects, one a line."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from r2vpo.data.options import JsonlOptions
from r2vpo.data.rows import Prompt, PromptData, PromptRow
from r2vpo.errors import UserError


def load_jsonl(options: JsonlOptions) -> PromptData:
    """Read the training and the held-out problems.

    A training row whose prompt is held out too is left out of training, and so is a second row of the same
    prompt.

    Args:
        options: the files and their columns.

    Returns:
        The problems.

    Raises:
        UserError: when a file is missing, empty or malformed, or has too few distinct prompts for the split.
    """
    rows = _read(options.path, options)
    if options.held_out_path is not None:
        held_out = _read(options.held_out_path, options)
    else:
        distinct = list({row.key(): row for row in rows}.values())
        if options.held_out >= len(distinct):
            raise UserError(
                f"{options.path} has {len(distinct)} distinct prompts, of which "
                f"data.held_out={options.held_out} would leave none to train on: lower data.held_out, or "
                "name a file in data.held_out_path"
            )
        held_out = random.Random(options.seed).sample(distinct, options.held_out)
    kept_out = {row.key() for row in held_out}
    train = list({row.key(): row for row in rows if row.key() not in kept_out}.values())
    if not train:
        raise UserError(
            f"every prompt of {options.path} is also in {options.held_out_path}: nothing is left to train "
            "on; give data.held_out_path other problems"
        )
    return PromptData(train=train, held_out=held_out)


def _read(path: Path, options: JsonlOptions) -> list[PromptRow]:
    try:
        text = path.expanduser().read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            f"cannot read the data file {path}: {reason}: name a UTF-8 file with one JSON object a line"
        ) from error
    rows = [
        _parse(line, f"{path}, line {number}", path, options)
        for number, line in enumerate(text.split("\n"), start=1)
        if line.strip()
    ]
    if not rows:
        raise UserError(f"the data file {path} is empty: write one JSON object a line, with prompt and answer")
    return rows


def _parse(line: str, where: str, path: Path, options: JsonlOptions) -> PromptRow:
    try:
        record = json.loads(line)
    except json.JSONDecodeError as error:
        raise UserError(f"{where} is no JSON ({error.msg}, column {error.colno}): correct that line") from error
    if not isinstance(record, dict):
        raise UserError(f'{where} is no JSON object: write {{"prompt": ..., "answer": ...}}')
    for option in ("prompt_column", "answer_column"):
        column = getattr(options, option)
        if column not in record:
            raise UserError(
                f"{where} has no column {column!r}, its columns are "
                f"{', '.join(map(repr, record)) or 'none'}: set data.{option} to one of them"
            )
    answer = record[options.answer_column]
    if isinstance(answer, bool) or not isinstance(answer, (str, int, float)):
        raise UserError(f"{where}: {options.answer_column!r} is {answer!r}: write a string or a number")
    rest = (options.prompt_column, options.answer_column, options.difficulty_column)
    return PromptRow(
        prompt=_prompt(record[options.prompt_column], where, options.prompt_column),
        answer=str(answer),
        difficulty=str(record.get(options.difficulty_column, "all")),
        source=path.name,
        metadata={key: value for key, value in record.items() if key not in rest},
    )


def _prompt(value: Any, where: str, column: str) -> Prompt:
    if isinstance(value, str) and value.strip():
        return value
    if isinstance(value, list) and value and all(_is_message(message) for message in value):
        return value
    raise UserError(
        f"{where}: {column!r} must be a text that is not empty, or a list of chat messages "
        '{"role": ..., "content": ...}: correct that line'
    )


def _is_message(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in ("role", "content"))
