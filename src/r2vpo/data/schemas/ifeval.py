"""Layout of google/IFEval: prompts with constraints that a program can check."""

from __future__ import annotations

from collections.abc import Mapping

from r2vpo.data.constraints import clean_arguments, problem_with
from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, prompt_of, rest_of, shown, texts_of, value_of


def ifeval(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row: `prompt`, `instruction_id_list`, `kwargs` and optionally `key`.

    Returns:
        The prompt without an answer; its difficulty is the number of constraints, which are in the metadata.

    Raises:
        BadRow: a column is missing, or a constraint is unknown or lacks a value.
    """
    prompt, names = prompt_of(record, "prompt"), texts_of(record, "instruction_id_list")
    given = value_of(record, "kwargs")
    # In a table, constraints without values have null instead of an empty mapping.
    if not isinstance(given, list) or not all(item is None or isinstance(item, Mapping) for item in given):
        raise BadRow(f"'kwargs' is {shown(given)}: write a list with a mapping for each of 'instruction_id_list'")
    arguments = [clean_arguments(item or {}) for item in given]
    if problem := problem_with(names, arguments):
        raise BadRow(problem)
    return PromptRow(
        prompt,
        "",
        difficulty=constraint_count(len(names)),
        metadata={"instruction_id_list": names, "kwargs": arguments, **rest_of(record, "key")},
    )


def constraint_count(number: int) -> str:
    """Return the difficulty of a prompt with that many constraints: `1 constraint`, `2 constraints`."""
    return f"{number} constraint{'s' * (number > 1)}"
