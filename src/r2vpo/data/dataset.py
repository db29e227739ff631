"""Problems of a data set: reading, counting, splitting, checking for overlap, and writing as prompts."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import NamedTuple

from r2vpo.data.contamination import overlapping
from r2vpo.data.hub import read_rows
from r2vpo.data.options import DatasetOptions, PreferencesOptions, SchemaName
from r2vpo.data.prompting import build_prompt, solution_of
from r2vpo.data.rows import Pair, PromptData, PromptRow
from r2vpo.data.schemas import BadRow, Columns, Skip, schema_of
from r2vpo.data.schemas.pairs import EMPTY, SAME
from r2vpo.errors import UserError


def load_dataset_problems(options: DatasetOptions, seed: int) -> PromptData:
    """Read the training and the held-out problems.

    Each prompt is used once: further rows with the same prompt are left out. A training row whose prompt is held out is
    left out of training, even if the held-out row was not drawn.

    Raises:
        UserError: a data set, subset, split or column is missing, a row is malformed, or too few problems are left.
    """
    left_out: Counter[str] = Counter()
    twice = (
        "equal to an earlier pair" if isinstance(options, PreferencesOptions) else "with the prompt of an earlier row"
    )
    rows = _distinct(read_problems(options, left_out), left_out, twice)
    named = options.names_held_out
    reserved = _read_held_out(options, left_out) if named else _set_aside(rows, options, seed)
    kept_out = {key for row in reserved for key in row.keys()}
    train = [row for row in rows if kept_out.isdisjoint(row.keys())]
    held_out = reserved
    if named:
        held_out = _draw(reserved, options.held_out_size, seed)
        _count(left_out, "whose prompt is held out", len(rows) - len(train))
        _count(left_out, "held-out rows not drawn", len(reserved) - len(held_out))
    if not train:
        raise UserError(
            f"every prompt of {', '.join(options.path)} is also held out: nothing is left to train on; give "
            "data.held_out_path other problems"
        )
    train, overlap = _without_overlap(train, reserved, options, left_out)
    train, examples = _with_examples(train, options, left_out, seed)
    if options.train_size is not None:
        drawn = _draw(train, options.train_size, seed)
        _count(left_out, "training rows not drawn", len(train) - len(drawn))
        train = drawn
    notes = _notes(train)
    train = _prompts(train, options, examples)
    _check_form(train)
    return PromptData(train, _prompts(held_out, options, examples), dict(left_out), overlap, notes)


def load_held_out_problems(options: DatasetOptions, seed: int) -> list[PromptRow]:
    """Read only the held-out problems, the same ones as `load_dataset_problems` with the same options.

    Training rows are read only for `few_shot` examples, or if the options name no held-out problems, which are then set
    aside from the training rows.

    Raises:
        UserError: as for `load_dataset_problems`.
    """
    if options.few_shot or not options.names_held_out:
        return load_dataset_problems(options, seed).held_out
    held_out = _draw(_read_held_out(options, Counter()), options.held_out_size, seed)
    return _prompts(held_out, options, [])


class _Source(NamedTuple):
    """Where rows are, how they are read, and the prefix of the recipe's keys that say so."""

    paths: Sequence[str]
    layout: SchemaName
    subset: str | None
    split: str | None
    revision: str | None
    key: str


def _training(options: DatasetOptions) -> _Source:
    return _Source(options.path, options.layout, options.subset, options.split, options.revision, "data.")


def read_problems(options: DatasetOptions, left_out: Counter[str]) -> list[PromptRow]:
    """Read the training rows as problems, in their order and without leaving any out.

    Args:
        options: where the rows are and how they are read.
        left_out: counts the rows that the schema skips, by reason.

    Raises:
        UserError: the rows cannot be read, one is not a problem, or the schema skips all of them.
    """
    return _read(_training(options), options, left_out)


def _read_held_out(options: DatasetOptions, left_out: Counter[str]) -> list[PromptRow]:
    source = _training(options)
    if options.held_out_path is not None:
        source = source._replace(
            paths=options.held_out_path, layout=options.held_out_layout, subset=options.held_out_subset, revision=None
        )
    read = _read(source._replace(split=options.held_out_split, key="data.held_out_"), options, left_out)
    rows = [replace(row, pair=None) for row in read]
    return _distinct(rows, left_out, "held-out rows with the prompt of an earlier one")


def _read(source: _Source, options: DatasetOptions, left_out: Counter[str]) -> list[PromptRow]:
    return [row for path in source.paths for row in _problems(path, source, options, left_out)]


def _problems(path: str, source: _Source, options: DatasetOptions, left_out: Counter[str]) -> list[PromptRow]:
    """Read the rows of one path as problems; the first row that is not a problem gives a one-line error."""
    columns = Columns(options.prompt_column, options.answer_column, options.difficulty_column)
    if isinstance(options, PreferencesOptions):
        columns = replace(columns, chosen=options.chosen_column, rejected=options.rejected_column)
    name = PurePath(path).name if PurePath(path).suffix else path
    problems: list[PromptRow] = []
    skipped: Counter[str] = Counter()
    rows = read_rows(path, subset=source.subset, split=source.split, revision=source.revision, key=source.key)
    for where, record in rows:
        try:
            found = schema_of(source.layout).read(record, columns)
        except BadRow as error:
            said = str(error)
            raise UserError(f"{where}{' ' if said.startswith('has no') else ': '}{said}") from None
        if isinstance(found, Skip):
            skipped[found.reason] += 1
        else:
            problems.append(replace(found, source=name))
    if not problems:
        reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.items())
        remedy = f"set {source.key}schema to the layout of its rows"
        if skipped and skipped.keys() <= {EMPTY, SAME}:  # the schema could read them
            remedy = "a pair needs two different answers that are not empty"
        raise UserError(f"{path} has no row that schema {source.layout} can use: {reasons}: {remedy}")
    left_out.update(skipped)
    return problems


def _distinct(rows: Sequence[PromptRow], left_out: Counter[str], reason: str) -> list[PromptRow]:
    kept: dict[tuple[str, Pair | None], PromptRow] = {}
    for row in rows:
        kept.setdefault((row.key(), row.pair), row)
    _count(left_out, reason, len(rows) - len(kept))
    return list(kept.values())


def _set_aside(rows: Sequence[PromptRow], options: DatasetOptions, seed: int) -> list[PromptRow]:
    assert options.held_out_size is not None, "the options require a number unless held-out problems are named"
    rows = list({row.key(): replace(row, pair=None) for row in rows}.values())
    if options.held_out_size >= len(rows):
        raise UserError(
            f"{', '.join(options.path)} has {len(rows)} distinct prompts, of which data.held_out_size = "
            f"{options.held_out_size} would leave none to train on: lower data.held_out_size, or name other problems "
            "in data.held_out_path"
        )
    return random.Random(seed).sample(rows, options.held_out_size)


def _draw(rows: list[PromptRow], count: int | None, seed: int) -> list[PromptRow]:
    """Draw up to `count` rows, keeping their order."""
    if count is None or count >= len(rows):
        return rows
    chosen = sorted(random.Random(f"draw/{seed}").sample(range(len(rows)), count))
    return [rows[index] for index in chosen]


def _without_overlap(
    train: list[PromptRow], held_out: list[PromptRow], options: DatasetOptions, left_out: Counter[str]
) -> tuple[list[PromptRow], int | None]:
    """Return the training rows, without overlapping ones if the options say so, and how many overlap but remain."""
    if options.contamination == "off" or schema_of(options.layout).prompt_is_made:
        return train, None
    found = overlapping(train, held_out, options.contamination_words)
    if options.contamination == "report":
        return train, len(found)
    kept = [row for index, row in enumerate(train) if index not in found]
    if not kept:
        raise UserError(
            f"data.contamination = drop: all {len(train)} training problems share "
            f"{options.contamination_words} words in a row with a held-out one: raise data.contamination_words, or "
            "give data.held_out_path other problems"
        )
    _count(left_out, "that share text with a held-out one", len(found))
    return kept, 0


def _with_examples(
    train: list[PromptRow], options: DatasetOptions, left_out: Counter[str], seed: int
) -> tuple[list[PromptRow], list[PromptRow]]:
    """Take the solved examples out of the training rows."""
    if not options.few_shot:
        return train, []
    if not schema_of(options.layout).has_examples:
        raise UserError(f"data.few_shot: rows of the schema {options.layout} hold no solution to show: set it to 0")
    if options.few_shot >= len(train):
        raise UserError(
            f"data.few_shot = {options.few_shot} would leave none of {len(train)} training problems: lower it"
        )
    chosen = random.Random(f"few_shot/{seed}").sample(range(len(train)), options.few_shot)
    if not all(solution_of(train[index]).strip() for index in chosen):
        raise UserError("data.few_shot: the rows have no solution to show: set it to 0")
    _count(left_out, "shown as examples", len(chosen))
    taken = set(chosen)
    return [row for index, row in enumerate(train) if index not in taken], [train[index] for index in chosen]


def _notes(train: list[PromptRow]) -> tuple[str, ...]:
    """Say so if the answers of all pairs are whole texts, since the model would be given each prompt twice."""
    if any(row.pair is None or not isinstance(row.prompt, str) for row in train):
        return ()
    answers = [(row.prompt, answer) for row in train if row.pair for answer in (row.pair.chosen, row.pair.rejected)]
    if not all(answer.startswith(str(prompt)) for prompt, answer in answers):
        return ()
    return (
        "every answer begins with its prompt, which the model is given before it: if the answers are whole texts, "
        "write only what follows the prompt",
    )


def _check_form(train: list[PromptRow]) -> None:
    """Reject prompts of different types: the trainer's table has a single column of prompts."""
    first = train[0].prompt
    other = next((row for row in train if isinstance(row.prompt, str) != isinstance(first, str)), None)
    if other is not None:
        raise UserError(
            f"data: some prompts are texts and some are lists of messages, such as those that start with "
            f"{str(first)[:40]!r} and {str(other.prompt)[:40]!r}: write all of them in one form, or set "
            "data.system_prompt"
        )


def _prompts(rows: list[PromptRow], options: DatasetOptions, examples: list[PromptRow]) -> list[PromptRow]:
    return [
        build_prompt(
            row,
            system_prompt=options.system_prompt,
            instruction=options.instruction,
            examples=examples,
            chat=options.format == "chat",
        )
        for row in rows
    ]


def _count(left_out: Counter[str], reason: str, count: int) -> None:
    if count:
        left_out[reason] += count
