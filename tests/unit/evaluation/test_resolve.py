"""What an evaluation needs is found and checked before any work."""

from __future__ import annotations

import io
from pathlib import Path

from rich.console import Console

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
