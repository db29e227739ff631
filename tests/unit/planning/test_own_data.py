"""What is found in a user's data, and what is refused in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.planning.own_data import kind_of_answers, look_at
from tests.unit.data.writing import write

PLUS = "def f(x):\n    return x + 1"
SUMS = [{"prompt": f"{i} + 1 =", "answer": i + 1} for i in range(6)]


def look(folder: Path, rows: list[dict[str, Any]], **columns: str | None) -> Any:
    path = write(folder / "own.jsonl", rows)
    return look_at(
        str(path), **({"subset": None, "split": None, "prompt_column": None, "answer_column": None} | columns)
    )


def refusal(folder: Path, rows: list[dict[str, Any]], **columns: str | None) -> str:
    with pytest.raises(UserError) as caught:
        look(folder, rows, **columns)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_usual_columns_need_no_note(tmp_path: Path) -> None:
    found = look(tmp_path, [*SUMS, SUMS[0]])
    assert (found.schema, found.prompt_column, found.answer_column, found.notes) == ("plain", "prompt", "answer", [])
    assert (len(found.rows), found.distinct, found.is_chat) == (7, 6, False)
    assert found.rows[2].answer == "3"


def test_other_columns_are_named_in_a_note(tmp_path: Path) -> None:
    rows = [{"id": i, "aufgabe": f"Was ist {i} plus {i}? Bitte antworte.", "wert": str(2 * i)} for i in range(5)]
    assert "'id', 'wert' could be: name it with --answer-column" in refusal(tmp_path, rows)
    found = look(tmp_path, rows, answer_column="wert")
    assert (found.prompt_column, found.answer_column) == ("aufgabe", "wert")
    assert found.notes == ["the prompt is the column 'aufgabe': --prompt-column takes another"]
    both = [{"question": f"{i}?", "input": "x", "answer": "1", "target": "2"} for i in range(3)]
    assert look(tmp_path, both).notes == [
        "the prompt is the column 'question', not 'input': --prompt-column takes another",
        "the answer is the column 'answer', not 'target': --answer-column takes another",
    ]
    chosen = look(tmp_path, both, prompt_column="input", answer_column="target")
    assert (chosen.rows[0].prompt, chosen.rows[0].answer, chosen.notes) == ("x", "2", [])


@pytest.mark.parametrize(
    ("row", "schema"),
    [
        ({"question": "3 * 414?", "answer": "As it is.\n#### 1,242"}, "gsm8k"),
        ({"question": "3 * 414?", "answer": "1242"}, "plain"),
        ({"problem": "2x = 4", "solution": "So \\boxed{2}", "level": "Level 1"}, "math"),
        ({"problem": "2x = 4", "solution": "So it is 2"}, "plain"),
        ({"nums": [44, 19, 35], "target": 98}, "countdown"),
        ({"prompt": "Write.", "instruction_id_list": ["punctuation:no_comma"], "kwargs": [{}]}, "ifeval"),
        ({"text": "Double.", "code": "def f(x): return 2 * x", "test_list": ["assert f(3) == 6"]}, "mbpp"),
    ],
)
def test_known_layouts(tmp_path: Path, row: dict[str, Any], schema: str) -> None:
    assert look(tmp_path, [row]).schema == schema


def test_chats(tmp_path: Path) -> None:
    rows = [{"messages": [{"role": "user", "content": f"{i}?"}], "answer": "1"} for i in range(3)]
    found = look(tmp_path, rows)
    assert (found.prompt_column, found.is_chat) == ("messages", True)
    rows[0]["messages"] = [*rows[0]["messages"], {"role": "assistant", "content": "1"}]
    assert "conversations end with an answer of the assistant" in refusal(tmp_path, rows)


@pytest.mark.parametrize(
    ("rows", "columns", "said"),
    [
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], {}, "is preference data (columns 'chosen' and 'rejected')"),
        ([{"prompt": "a", "chosen": "b", "rejected": "c"}], {}, "write one of trainer.kind dpo with data.source pref"),
        ([{"prompt": "a"}], {}, "no column that is clearly the reference answer, a text or a number; it has 'prompt'"),
        (
            [{"data": {"q": "a"}, "n": 1}],
            {},
            "has no column that can be a prompt, a text or a list of messages; it has",
        ),
        (SUMS, {"prompt_column": "promt"}, "--prompt-column promt: "),
        (SUMS, {"prompt_column": "promt"}, "own.jsonl has no such column, it has 'prompt', 'answer'; did you mean 'pr"),
        (SUMS, {"answer_column": "x"}, "--answer-column x: "),
        (SUMS, {"answer_column": "x"}, "own.jsonl has no such column, it has 'prompt', 'answer': name one of them"),
        ([*SUMS, {"prompt": "x", "answer": None}], {}, "1 of 7 rows have no usable 'answer', the first is "),
        ([*SUMS, {"prompt": " ", "answer": 1}], {}, "line 7 with ' ': correct or remove them"),
    ],
)
def test_what_is_refused(tmp_path: Path, rows: list[dict[str, Any]], columns: dict[str, str], said: str) -> None:
    assert said in refusal(tmp_path, rows, **columns)


@pytest.mark.parametrize(
    ("answers", "kind"),
    [
        (["A", "c", "(B)"], "choice"),
        (["A", "A"], "short"),
        (["7", "-3.5", "1,242", "$5", "20 %"], "number"),
        (["\\frac{1}{2}", "x^2", "1/2", "3", "√2"], "formula"),
        (["Paris", "New York"], "short"),
        (["A long answer that explains in several words why it is so.", "Paris"], "text"),
    ],
)
def test_kinds_of_answers(answers: list[str], kind: str) -> None:
    assert kind_of_answers(answers) == kind


def test_the_prompt_may_be_named_as_the_answer_that_no_reward_needs(tmp_path: Path) -> None:
    said = refusal(tmp_path, [{"prompt": "Write a poem."}])
    assert said.endswith("If your reward needs no answer, name the prompt's column: --answer-column prompt")
    data = look(tmp_path, [{"prompt": "Write a poem."}], answer_column="prompt")
    assert (data.prompt_column, data.answer_column) == ("prompt", "prompt")
    rows = [{"prompt": f"Write {i}.", "category": "a text that is longer", "n": i} for i in range(3)]
    data = look(tmp_path, rows, answer_column="prompt")
    assert (data.prompt_column, data.distinct, data.rows[0].answer) == ("prompt", 3, "")
    assert data.notes == ["the column 'prompt' is prompt and answer, so that the rows have no answer"]
    # A column that is rarely a prompt is the answer that was meant.
    other = look(tmp_path, [{"content": f"Question {i}?", "text": "an answer"} for i in range(3)], answer_column="text")
    assert (other.prompt_column, other.answer_column, other.rows[0].answer) == ("content", "text", "an answer")


@pytest.mark.parametrize(
    ("row", "answer", "schema"),
    [
        ({"prompt": "Write f.", "tests": ["assert f(1) == 2"]}, "prompt", "plain"),
        ({"question": "Write f.", "test_list": ["assert f(1) == 2"], "id": "a", "solution": PLUS}, "solution", "plain"),
        ({"messages": [{"role": "user", "content": "f"}], "tests": ["assert f(1) == 2"]}, "messages", "plain"),
        ({"instruction": "Add 1.", "inputs": ["1"], "outputs": ["2"], "source": "a"}, "instruction", "plain"),
        ({"prompt": "Write f.", "test_list": ["assert f(1) == 2"]}, None, "mbpp"),
        (
            {"prompt": "def f(x):\n", "test": "def check(f):\n    assert f(1) == 2", "entry_point": "f"},
            None,
            "humaneval",
        ),
    ],
)
def test_rows_with_tests_need_no_answer(tmp_path: Path, row: dict[str, Any], answer: str | None, schema: str) -> None:
    found = look(tmp_path, [row, row])
    assert (found.schema, found.answer_column, bool(found.tests)) == (schema, answer, schema == "plain")


def test_tests_that_cannot_be_used_are_noted(tmp_path: Path) -> None:
    row = {"question": "Write f.", "solution": PLUS, "test": "from solution import f\nassert f(1) == 2"}
    found = look(tmp_path, [row, row])
    assert found.tests == [] and "the column 'test' cannot be used as tests, because the reward code" in found.notes[0]
