"""What an evaluation needs is found and checked before any work."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest
from rich.console import Console

from r2vpo.errors import UserError
from r2vpo.evaluation.resolve import resolve
from r2vpo.evaluation.schema import EvaluationConfig, load_suite
from r2vpo.evaluation.subject import Subject
from tests.integration.evaluation import write_suite
from tests.unit.data.writing import write

SUITE = """\
name: s
data: {{source: dataset, path: {path}, held_out_path: {path}, held_out_size: null}}
reward: {{name: exact}}
"""


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
    asked = load_suite(write_suite(tmp_path, SUITE.format(path=path)))
    config = EvaluationConfig(model="m", weights="m", suite=asked, baseline="no-such-owner/no-such-model")
    with pytest.raises(UserError, match="no-such-owner/no-such-model"):
        resolve(config, Subject("m", "m"), Console(file=io.StringIO()))


def test_a_baseline_from_before_checksums_is_refused_as_such(tmp_path: Path) -> None:
    former = tmp_path / "former"
    former.mkdir()
    for file in (Path(__file__).parents[2] / "integration" / "evaluation_written").iterdir():
        text = re.sub(r',\s+"crc32": "\w+"', "", file.read_text())
        (former / file.name).write_text(text.partition("# sha256 of")[0])
    path = write(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "answer": "2"}])
    asked = load_suite(write_suite(tmp_path, SUITE.format(path=path)))
    config = EvaluationConfig(model="m", weights="m", suite=asked, baseline=str(former))
    with pytest.raises(UserError) as caught:
        resolve(config, Subject("m", "m"), Console(file=io.StringIO()))
    file = former / "completions.jsonl"
    assert str(caught.value) == (
        f"{file}: no record has a checksum, as before r2vpo 0.1.0: restore the file from a copy, or repeat the run or "
        "the evaluation in a new folder"
    )


def test_a_data_set_names_its_format_once(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "answer": "2"}])
    text = f"name: s\ndata: {{source: dataset, path: {path}, held_out_size: 1}}\nreward: {{name: exact}}\n"
    file = write_suite(tmp_path, text)
    assert load_suite(file).format == "auto"
    assert load_suite(file, ["sampling.format=text"]).format == "text"
    assert load_suite(file, ["data.format=chat"]).format == "chat"
    with pytest.raises(UserError, match=r"data.format = chat and sampling.format = text differ: leave one out"):
        load_suite(file, ["data.format=chat", "sampling.format=text"])


def only_chats(completions, **columns):
    return [float(len(completion[-1]["content"])) for completion in completions]


def no_form(completions, **columns):
    raise RuntimeError("no scorer here")


def test_a_reward_that_takes_only_chats_is_not_refused_while_the_form_is_open(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"prompt": "1 + 1 =", "answer": "2"}])
    text = f"name: s\ndata: {{source: dataset, path: {path}, held_out_path: {path}, held_out_size: null}}\n"

    def found(name: str, *overrides: str) -> None:
        suite = write_suite(tmp_path, text + f"reward: {{name: '{__name__}:{name}'}}\n")
        config = EvaluationConfig(model="m", weights="m", suite=load_suite(suite, overrides))
        resolve(config, Subject("m", "m"), Console(file=io.StringIO()))

    found("only_chats")
    with pytest.raises(UserError, match="'only_chats' raises IndexError"):
        found("only_chats", "data.format=text")
    with pytest.raises(UserError, match="'no_form' raises RuntimeError: no scorer here"):
        found("no_form")
