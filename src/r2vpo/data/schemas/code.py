"""Layouts of programming data sets.

The metadata of both have `tests`, a list of programs that fail if the solution is wrong; `setup`, code that runs before
them; `prefix`, the text that a completion continues, or an empty text; and `solution`, an empty text if the row has
none. The answer is the solution.
"""

from __future__ import annotations

from r2vpo.data.rows import PromptRow
from r2vpo.data.schemas.base import BadRow, Columns, Record, Skip, optional_text_of, rest_of, shown, text_of, texts_of


def mbpp(record: Record, columns: Columns) -> PromptRow | Skip:
    """Read a row of MBPP: `text`, `test_list`, and optionally `code` (or `solution`) and `test_setup_code`.

    Its sanitized form has `prompt` and `test_imports` instead of the first and the last column.

    Returns:
        The task with its first test, which shows how the function is called.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    task, tests = text_of(record, "text", "prompt"), texts_of(record, "test_list")
    solution = optional_text_of(record, "code", "solution").strip()
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
    """Read a row of HumanEval: `prompt`, `test`, `entry_point`, and optionally `canonical_solution`.

    Returns:
        The task: the head of a function, which the model continues.

    Raises:
        BadRow: a column is missing or holds something else.
    """
    for column in ("prompt", "test", "entry_point"):
        text_of(record, column)
    entry, solution = record["entry_point"], optional_text_of(record, "canonical_solution")
    if not entry.isidentifier():
        raise BadRow(f"'entry_point' is {shown(entry)}: write the name of a function")
    # White space matters in code, so the columns are used unchanged.
    return PromptRow(
        record["prompt"],
        solution,
        metadata={
            "tests": [f"{record['test']}\n\ncheck({entry})\n"],
            "setup": "",
            "prefix": record["prompt"],
            "solution": solution,
            "entry_point": entry,
            **rest_of(record, "task_id"),
        },
    )
