"""Rows of known data sets, in their own columns, become problems."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any, get_args

import pytest

from r2vpo.data import DatasetOptions, PromptRow, load_data
from r2vpo.data.options import SchemaName
from r2vpo.data.schemas import SCHEMAS, BadRow, Columns, Skip
from r2vpo.errors import UserError
from tests.unit.data.writing import write

HUMANEVAL = {
    "task_id": "HumanEval/0",
    "prompt": 'def double(x):\n    """Twice x."""\n',
    "canonical_solution": "    return 2 * x\n",
    "test": "def check(candidate):\n    assert candidate(3) == 6\n",
    "entry_point": "double",
}
MBPP = {
    "task_id": 601,
    "text": "Write a function to double a number.",
    "code": "def double(x):\r\n  return 2 * x",
    "test_list": ["assert double(3) == 6", "assert double(0) == 0"],
    "test_setup_code": "import math",
    "challenge_test_list": [],
}
IFEVAL = {
    "key": 1000,
    "prompt": "Write a poem. Use no commas and at least 2 placeholders.",
    "instruction_id_list": ["punctuation:no_comma", "detectable_content:number_placeholders"],
    "kwargs": [{"num_placeholders": None, "relation": None}, {"num_placeholders": 2, "relation": None}],
}
ROWS: dict[SchemaName, list[dict[str, Any]]] = {
    "plain": [{"prompt": "1 + 1 =", "answer": "2", "difficulty": "easy"}],
    "numina_math": [
        {
            "source": "olympiads",
            "problem": "What is half of a half?",
            "solution": "First \\boxed{2}, no: $\\boxed{\\frac{1}{4}}$.",
            "messages": [{"role": "user", "content": "What is half of a half?"}],
        }
    ],
    "gsm8k": [{"question": "How many?", "answer": "It is 3*414=<<3*414=1242>>1242.\n#### 1,242"}],
    "math": [
        {"problem": "P", "solution": "So \\boxed{x^{2}}", "level": "Level 5", "type": "Algebra"},
        {"problem": "Q", "solution": "s", "answer": "7", "subject": "Geometry", "level": "2", "unique_id": "t/1.json"},
    ],
    "dapo_math": [
        {
            "data_source": "math_dapo",
            "prompt": [{"content": "Solve.", "role": "user"}],
            "ability": "MATH",
            "reward_model": {"ground_truth": "34", "style": "rule"},
            "extra_info": {"index": "9a"},
        }
    ],
    "aime": [
        {"ID": "2024-I-1", "Problem": "P", "Solution": "S", "Answer": "025"},
        {"ID": "1983-1", "Problem": "Q", "Solution": "S", "Answer": "60"},
    ],
    "countdown": [{"nums": [44, 19, 35], "target": 98}],
    "mbpp": [MBPP],
    "humaneval": [HUMANEVAL],
    "ifeval": [IFEVAL],
}
FIRST = {
    "plain": ("2", "easy", {}),
    "numina_math": ("\\frac{1}{4}", "olympiads", {"solution": "First \\boxed{2}, no: $\\boxed{\\frac{1}{4}}$."}),
    "gsm8k": ("1242", "all", {"solution": "It is 3*414=<<3*414=1242>>1242.\n#### 1,242"}),
    "math": ("x^{2}", "level 5", {"solution": "So \\boxed{x^{2}}", "subject": "Algebra"}),
    "dapo_math": ("34", "all", {"data_source": "math_dapo", "ability": "MATH"}),
    "aime": ("25", "all", {"id": "2024-I-1", "solution": "S"}),
    "countdown": ("98", "3 numbers", {"nums": [44, 19, 35], "target": 98}),
    "ifeval": (
        "",
        "2 constraints",
        {"instruction_id_list": IFEVAL["instruction_id_list"], "kwargs": [{}, {"num_placeholders": 2}], "key": 1000},
    ),
}


def read(name: SchemaName, record: dict[str, Any]) -> PromptRow | Skip:
    return SCHEMAS[name].read(record, Columns())


def refused(name: SchemaName, record: dict[str, Any]) -> str:
    with pytest.raises(BadRow) as caught:
        read(name, record)
    return str(caught.value)


def test_every_schema_has_its_name_and_its_example() -> None:
    assert set(SCHEMAS) == set(get_args(SchemaName)) == set(ROWS)


@pytest.mark.parametrize("name", [*ROWS])
def test_rows_in_files_become_problems(tmp_path: Path, name: SchemaName) -> None:
    flat = all(not isinstance(value, (list, dict)) for row in ROWS[name] for value in row.values())
    found = []
    for kind in ("jsonl", "parquet", *(["csv"] if flat and len({tuple(row) for row in ROWS[name]}) == 1 else [])):
        path = write(tmp_path / f"rows.{kind}", ROWS[name])
        data = load_data(DatasetOptions(path=[str(path)], schema=name, held_out_size=0))
        assert len(data.train) == len(ROWS[name])
        row = data.train[0]
        found.append((row.prompt, row.answer, row.difficulty, row.metadata))
    assert found == found[:1] * len(found)
    if name in FIRST:
        assert found[0][1:] == FIRST[name]


@pytest.mark.parametrize(("name", "module"), [("mbpp", MBPP), ("humaneval", HUMANEVAL)])
def test_the_tests_of_a_program_pass_for_its_solution_alone(name: SchemaName, module: dict[str, Any]) -> None:
    row = read(name, module)
    assert isinstance(row, PromptRow)

    def passes(completion: str) -> bool:
        program = row.metadata["setup"] + "\n" + row.metadata["prefix"] + completion + "\n"
        program += "\n".join(row.metadata["tests"])
        return subprocess.run([sys.executable, "-I", "-c", program], capture_output=True, timeout=60).returncode == 0

    assert passes(row.metadata["solution"]) and row.answer == row.metadata["solution"]
    assert not passes(row.metadata["solution"].replace("2 * x", "3 * x"))
    assert "double" in str(row.prompt)


@pytest.mark.parametrize(
    ("name", "module", "column"), [("mbpp", MBPP, "code"), ("humaneval", HUMANEVAL, "canonical_solution")]
)
def test_a_program_needs_no_solution(tmp_path: Path, name: SchemaName, module: dict[str, Any], column: str) -> None:
    without = {key: value for key, value in module.items() if key != column}
    row, whole = read(name, without), read(name, module)
    assert isinstance(row, PromptRow) and isinstance(whole, PromptRow)
    assert row.answer == row.metadata["solution"] == "" and row.metadata["tests"] == whole.metadata["tests"]
    path = write(
        tmp_path / "own.jsonl", [{**without, "prompt": f"def f{i}(x):\n", "text": f"Task {i}"} for i in range(4)]
    )
    options = DatasetOptions(path=[str(path)], schema=name, held_out_size=1, few_shot=1)
    with pytest.raises(UserError, match=r"data\.few_shot: the rows have no solution to show: set it to 0"):
        load_data(options)


def test_a_row_whose_prompt_is_named_as_the_answer_has_none() -> None:
    for prompt in ("Write.", [{"role": "user", "content": "Write."}]):
        row = SCHEMAS["plain"].read({"text": prompt, "tests": ["assert f()"]}, Columns("text", "text"))
        assert isinstance(row, PromptRow)
        assert (row.prompt, row.answer, row.metadata) == (prompt, "", {"tests": ["assert f()"]})


def test_spellings() -> None:
    for record in (
        {"Problem": "P", "Answer": 33, "Year": 1999},
        {"problem": "P", "answer": "033", "year": "1999", "url": "u"},
        {"Question": "P", "Answer": " 33", "Year": 1999, "Part": None},
    ):
        row = read("aime", record)
        assert isinstance(row, PromptRow) and (row.prompt, row.answer, row.difficulty) == ("P", "33", "1999")
    sanitized = {**MBPP, "prompt": MBPP["text"], "test_imports": ["import math", "import re"]}
    row = read("mbpp", {key: sanitized[key] for key in ("prompt", "code", "test_list", "test_imports")})
    assert isinstance(row, PromptRow) and row.metadata["setup"] == "import math\nimport re"
    row = read("gsm8k", {"question": "Q", "answer": "a #### b\n#### -1,234,567.5"})
    assert isinstance(row, PromptRow) and row.answer == "-1234567.5"
    row = read("gsm8k", {"question": "Q", "answer": "#### 1,23"})
    assert isinstance(row, PromptRow) and row.answer == "1,23", "no comma of thousands"
    row = read("countdown", {"nums": [1, 2, 3, 4], "target": 10})
    assert isinstance(row, PromptRow) and "1, 2, 3, 4" in str(row.prompt) and "10" in str(row.prompt)
    row = read("ifeval", {**IFEVAL, "kwargs": [None, {"num_placeholders": 2.0}]})
    assert isinstance(row, PromptRow) and row.metadata["kwargs"] == [{}, {"num_placeholders": 2}]
    row = read("math", {"problem": "P", "answer": 3, "level": 4})
    assert isinstance(row, PromptRow) and (row.answer, row.difficulty) == ("3", "level 4")


@pytest.mark.parametrize(
    ("name", "record", "reason"),
    [
        ("numina_math", {"problem": "Prove that 1 = 1.", "solution": "\\boxed{1}"}, "with a proof as the task"),
        ("numina_math", {"problem": "Now show  it.", "solution": "It is 1."}, "without a boxed answer"),
        ("numina_math", {"problem": "P", "solution": "\\boxed{}"}, "without a boxed answer"),
        ("math", {"problem": "P", "solution": "\\boxed{1"}, "without a boxed answer"),
        ("gsm8k", {"question": "P", "answer": "7"}, "without an answer after ####"),
        ("gsm8k", {"question": "P", "answer": "7 ####"}, "without an answer after ####"),
    ],
)
def test_rows_that_are_skipped(name: SchemaName, record: dict[str, Any], reason: str) -> None:
    assert read(name, record) == Skip(reason)


@pytest.mark.parametrize(
    ("name", "record", "said"),
    [
        ("numina_math", {"problem": "P"}, "has no column 'solution', its columns are 'problem': set data.schema"),
        ("numina_math", {"problem": None, "solution": "s"}, "'problem' is null"),
        ("gsm8k", {"question": 3, "answer": "s"}, "'question' is 3: write a text"),
        ("math", {"problem": " ", "solution": "s"}, "'problem' is ' ': write a text"),
        ("math", {"problem": "P", "answer": [1]}, "'answer' is [1]: write a string or a number"),
        ("dapo_math", {"prompt": "P", "reward_model": "34"}, "'reward_model' is '34': write the answer in"),
        ("dapo_math", {"prompt": "P", "reward_model": {"style": "rule"}}, "in its ground_truth"),
        ("dapo_math", {"prompt": [], "reward_model": {"ground_truth": "1"}}, "'prompt' is []; it must be"),
        ("aime", {"Task": "P", "Answer": 3}, "has no column 'problem' or 'question', its columns are 'Task', 'Answer'"),
        ("countdown", {"nums": [1], "target": 3}, "'nums' is [1]: write a list of two"),
        ("countdown", {"nums": [1, "2"], "target": 3}, "'nums' is [1, '2']"),
        ("countdown", {"nums": [1, 2], "target": "3"}, "'target' is '3': write a whole number"),
        ("mbpp", {**MBPP, "test_list": []}, "'test_list' is []: write a list of one text"),
        ("humaneval", {**HUMANEVAL, "entry_point": "a b"}, "'entry_point' is 'a b'"),
        ("ifeval", {"prompt": "P", "instruction_id_list": ["punctuation:no_comma"]}, "has no column 'kwargs'"),
        ("ifeval", {**IFEVAL, "kwargs": "{}"}, "'kwargs' is '{}': write a list with a mapping for each"),
        ("ifeval", {**IFEVAL, "kwargs": [None]}, "has 2 names, 'kwargs' has 1 entries: give one per name"),
        ("ifeval", {**IFEVAL, "kwargs": [None, None]}, "placeholders has no 'num_placeholders': write a whole number"),
        ("ifeval", {**IFEVAL, "kwargs": [{}, {"num_placeholders": 2.5}]}, "num_placeholders = 2.5: write a whole"),
        ("ifeval", {**IFEVAL, "kwargs": [{"relation": "at least"}, {"num_placeholders": 2}]}, "which it does not take"),
        (
            "ifeval",
            {**IFEVAL, "instruction_id_list": ["punctuation:no_commas", "x"]},
            "has 'punctuation:no_commas', which is unknown; did you mean punctuation:no_comma?",
        ),
    ],
)
def test_rows_that_are_wrong(name: SchemaName, record: dict[str, Any], said: str) -> None:
    assert said in refused(name, record)
