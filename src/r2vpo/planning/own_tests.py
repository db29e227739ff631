"""Tests of programs in a user's data: which columns hold them, and whether the reward `code` can use them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.audit import Answer, audit, solutions
from r2vpo.rewards.code_tests import PAIRS, TESTS, read_tests


def find_tests(located: Sequence[tuple[str, Mapping[str, Any]]], notes: list[str]) -> list[str]:
    """Return the columns that hold tests which the reward `code` reads in every row; none if it does not.

    Args:
        located: the rows, each with its location.
        notes: receives a line if there are tests that it does not read.
    """
    columns = _columns(located[0][1])
    for where, record in located if columns else ():
        try:
            read_tests(json.dumps(dict(record), default=str))
        except (ValueError, TypeError, AttributeError) as error:
            notes.append(
                f"{_named(columns)} {'holds' if len(columns) == 1 else 'hold'} tests, which the reward code cannot "
                f"read in {where} ({error}): write them as docs/rewards.md says, section code"
            )
            return []
    return columns


def try_programs(reward: Any, rows: Sequence[PromptRow]) -> tuple[str, bool]:
    """Score the solutions of rows with tests, and empty programs.

    Args:
        reward: the reward `code`, or a function that calls it.
        rows: the rows, a few of them.

    Returns:
        What the reward does, and whether the tests tell programs apart: some solution passes, if there are any, and no
        empty program does.
    """
    right, empty = solutions(rows), [Answer(index, "", 0.0) for index in range(len(rows))]
    verdicts = audit(reward, None, rows, [*right, *empty]).verdicts
    passed = sum(not verdict.wrong for verdict in verdicts[: len(right)])
    fooled = sum(verdict.wrong for verdict in verdicts[len(right) :])
    said = f"{passed or 'none'} of {len(right)} solutions of the rows and to " if right else ""
    line = f"gives 1 to {said}{fooled or 'none'} of {len(rows)} empty programs"
    return line, not fooled and bool(passed or not right)


def problem_with_tests(rows: Sequence[PromptRow], columns: Sequence[str]) -> str | None:
    """Return why the reward `code` cannot be used with the tests of rows, or None.

    Args:
        rows: the rows, a few of them.
        columns: the columns with the tests.
    """
    try:
        done, works = try_programs(load_reward("code"), rows)
        said = f"the reward code {done}"
    except UserError as error:  # no sandbox works here
        said, works = str(error), False
    if works:
        return None
    return (
        f"{_named(columns)} cannot be used as tests, because {said}; a test is a program that fails for a wrong "
        "solution, such as assert f(1) == 2"
    )


def _columns(record: Mapping[str, Any]) -> list[str]:
    tests = next(([name] for name in TESTS if _has_tests(record.get(name))), [])
    pairs = [name for name in PAIRS if isinstance(record.get(name), (list, dict))]
    if isinstance(record.get("input_output"), str):
        pairs.append("input_output")
    return tests or [name for name in pairs if name not in ("inputs", "outputs") or {"inputs", "outputs"} <= {*pairs}]


def _has_tests(value: Any) -> bool:
    items = value if isinstance(value, list) else [value]
    return any(
        "assert" in item if isinstance(item, str) else isinstance(item, Mapping) and {"input", "output"} <= item.keys()
        for item in items
    )


def _named(columns: Sequence[str]) -> str:
    return f"the column{'s' * (len(columns) > 1)} {', '.join(map(repr, columns))}"
