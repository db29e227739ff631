"""Which columns of a user's data are tests of programs, and whether the reward `code` can use them."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.data.rows import PromptRow
from r2vpo.planning.own_tests import find_tests, problem_with_tests

PLUS = "def f(x):\n    return x + 1"
PASSES, FAILS, VACUOUS = (
    "assert f(1) == 2",
    "from solution import f\nassert f(1) == 2",
    "def test_f():\n    assert f(1)",
)


def found(*records: dict[str, Any]) -> tuple[list[str], list[str]]:
    notes: list[str] = []
    return find_tests([(f"row {number}", record) for number, record in enumerate(records, start=1)], notes), notes


@pytest.mark.parametrize(
    ("record", "columns"),
    [
        ({"tests": [PASSES]}, ["tests"]),
        ({"test": PASSES, "entry_point": "f"}, ["test"]),
        ({"test_cases": [{"input": "1", "output": "2"}]}, ["test_cases"]),
        ({"inputs": ["1"], "outputs": ["2"]}, ["inputs", "outputs"]),
        ({"input_output": '{"inputs": ["1"], "outputs": ["2"]}'}, ["input_output"]),
        ({"public_tests": {"input": ["1"], "output": ["2"]}}, ["public_tests"]),
        ({"test": "Berlin"}, []),
        ({"inputs": "Translate this.", "outputs": "Traduis ceci."}, []),
        ({"inputs": ["1"]}, []),
        ({"question": "1 + 1?", "answer": "2"}, []),
    ],
)
def test_columns_with_tests(record: dict[str, Any], columns: list[str]) -> None:
    assert found({"prompt": "p", **record}) == (columns, [])


def test_tests_that_a_row_lacks_are_noted() -> None:
    columns, (note,) = found({"tests": [PASSES]}, {"tests": []})
    assert columns == []
    assert "the column 'tests' holds tests, which the reward code cannot read in row 2 (the metadata contain no" in note


def rows(test: str, solution: str) -> list[PromptRow]:
    return [PromptRow("p", solution or "p", metadata={"tests": [test], "solution": solution}) for _ in range(3)]


@pytest.mark.parametrize(
    ("test", "solution", "said"),
    [
        (PASSES, PLUS, None),
        (PASSES, "", None),
        (FAILS, PLUS, "gives 1 to none of 3 solutions of the rows and to none of 3 empty programs"),
        (VACUOUS, PLUS, "gives 1 to 3 of 3 solutions of the rows and to 3 of 3 empty programs"),
        (VACUOUS, "", "gives 1 to 3 of 3 empty programs"),
    ],
)
def test_tests_have_to_tell_programs_apart(test: str, solution: str, said: str | None) -> None:
    problem = problem_with_tests(rows(test, solution), ["tests"])
    if said is None:
        assert problem is None
    else:
        assert problem is not None and said in problem and "'tests' cannot be used as tests" in problem
