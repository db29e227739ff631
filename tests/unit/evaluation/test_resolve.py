"""What an evaluation needs is found and checked before any work."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from rich.console import Console

from r2vpo.errors import UserError
from r2vpo.evaluation.resolve import resolve
from r2vpo.evaluation.schema import EvaluationConfig, load_suite
from r2vpo.evaluation.subject import Subject
from tests.integration.evaluation import write_suite
from tests.unit.data.writing import write


def test_problems_whose_gold_cannot_be_read_are_left_out_before_evaluation(tmp_path: Path) -> None:
    rows = [{"prompt": f"problem {i}", "answer": gold} for i, gold in enumerate([r"\$36", r"\frac{1", "5"])]
    path = write(tmp_path / "golds.jsonl", rows)
    text = f"name: golds\ndata: {{source: dataset, path: {path}, held_out_path: {path}, held_out_size: null}}\n"
    asked = load_suite(write_suite(tmp_path, text + "reward: {name: math}\n"))
    console = Console(file=io.StringIO(), width=500)
    found = resolve(EvaluationConfig(model="m", weights="m", suite=asked), Subject("m", "m"), console)
    assert [row.answer for row in found.rows] == [r"\$36", "5"]
    said = console.file.getvalue()
    assert said.startswith(
        "note: 1 of 3 problems are left out because 'math' cannot use their answer; the first is row 2 "
    )
    assert said.count("\n") == 1 and r"\\frac{1" in said


def test_a_baseline_that_does_not_exist_is_refused_before_the_model_is_evaluated(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "answer": "2"}])
    text = f"name: s\ndata: {{source: dataset, path: {path}, held_out_path: {path}, held_out_size: null}}\n"
    asked = load_suite(write_suite(tmp_path, text + "reward: {name: exact}\n"))
    config = EvaluationConfig(model="m", weights="m", suite=asked, baseline="no-such-owner/no-such-model")
    with pytest.raises(UserError, match="no-such-owner/no-such-model"):
        resolve(config, Subject("m", "m"), Console(file=io.StringIO()))


def test_a_data_set_names_its_format_once(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "answer": "2"}])
    text = f"name: s\ndata: {{source: dataset, path: {path}, held_out_size: 1}}\nreward: {{name: exact}}\n"
    file = write_suite(tmp_path, text)
    assert load_suite(file).format == "auto"
    assert load_suite(file, ["sampling.format=text"]).format == "text"
    assert load_suite(file, ["data.format=chat"]).format == "chat"
    with pytest.raises(UserError, match=r"data.format = chat and sampling.format = text differ: leave one out"):
        load_suite(file, ["data.format=chat", "sampling.format=text"])
