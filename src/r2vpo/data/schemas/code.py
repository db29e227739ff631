"""Layouts of programming data sets.

The metadata of both have `tests`, a list of programs that fail if the solution is wrong; `setup`, code that runs before
them; `prefix`, the text that a completion continues, or an empty text; and `solution`. The answer is the solution.
"""

from __future__ import annotations

from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, rest_of, shown, text_of, texts_of


def mbpp(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of MBPP: `text`, `code`, `test_list`, `test_setup_code`.

    Its sanitized form has `prompt` and `test_imports` instead of the first and the last column.

    Returns:
        The task with its first test, which shows how the function is called.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    task, solution, tests = text_of(record, "text", "prompt"), text_of(record, "code"), texts_of(record, "test_list")
    setup = record.get("test_setup_code") or "\n".join(record.get("test_imports") or [])
    return PromptRow(
        f"{task}\nIt has to pass this test:\n{tests[0]}\n",
        solution,
        metadata={
            "tests": tests,
            "setup": setup,
            "prefix": "",
            "solution": solution,
            **rest_of(record, "task_id"),
        },
    )


def humaneval(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of HumanEval: `prompt`, `canonical_solution`, `test`, `entry_point`.

    Returns:
        The task: the head of a function, which the model continues.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    for column in ("prompt", "canonical_solution", "test", "entry_point"):
        text_of(record, column)
    entry = record["entry_point"]
    if not entry.isidentifier():
        raise BadRow(f"'entry_point' is {shown(entry)}: write the name of a function")
    # White space matters in code, so the columns are used unchanged.
    return PromptRow(
        record["prompt"],
        record["canonical_solution"],
        metadata={
            "tests": [f"{record['test']}\n\ncheck({entry})\n"],
            "setup": "",
            "prefix": record["prompt"],
            "solution": record["canonical_solution"],
            "entry_point": entry,
            **rest_of(record, "task_id"),
        },
    )
