"""`r2vpo new`: a recipe and a reward for a user's data, checked before they are written."""

from __future__ import annotations

import ast
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from r2vpo.cli.failures import Session
from r2vpo.cli.main import main
from r2vpo.config.recipe import load_recipe
from r2vpo.config.yaml_files import read_mapping
from r2vpo.data import load_data
from r2vpo.rewards import load_reward
from r2vpo.training.setup import prepare
from tests.integration.evaluation import write_model
from tests.unit.cli.helpers import failure

MODEL = ("--model", "tiny/random-llama")
KINDS: dict[str, tuple[list[Any], str, str, str]] = {
    "number": ([str(7 * i) for i in range(12)], "math", "The answer is 21.", "It is 21, no, 22."),
    "choice": (["A", "B", "C", "D"] * 3, "choice", "The answer is D.", "The answer is A."),
    "formula": ([rf"\frac{{{i}}}{{7}}" for i in range(12)], "math", r"\boxed{\frac{3}{7}}", r"\boxed{\frac{4}{7}}"),
    "short": ([f"town {i}" for i in range(12)], "rewards_own:score", "It is Town 3.", "It is town 3, or not?"),
    "text": ([f"A long text, number {i}, in so many words that nothing compares it." for i in range(12)],
             "rewards_own:score", "A long text, number 3, in so many words that nothing compares it.", "Neither."),
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "rewards_own", raising=False)


def write(answers: list[Any], name: str = "own.jsonl") -> None:
    rows = [{"question": f"Question {i}?", "answer": answer} for i, answer in enumerate(answers)]
    Path(name).write_text("".join(json.dumps(row) + "\n" for row in rows))


@pytest.mark.parametrize("kind", KINDS)
def test_the_files_work(kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    answers, reward, right, wrong = KINDS[kind]
    write(answers)
    assert main(["new", "own.jsonl", *MODEL]) == 0
    said = capsys.readouterr().out
    assert "the prompt from 'question', the answer from 'answer'" in said and f"  reward {reward}: " in said
    assert "held out: 2 problems of 12" in said and "lengths of prompts: " in said
    assert "form: prompts are given as chats" in said and "wrote own.yaml and rewards_own.py. Next:" in said
    recipe = load_recipe("own.yaml")
    assert (recipe.reward.name, recipe.model.name, recipe.data.prompt_column) == (reward, MODEL[1], "question")
    data = load_data(recipe.data)
    assert (len(data.train), len(data.held_out)) == (10, 2)
    # Both functions, on a plain text and on a chat.
    row = answers[3]
    for name in {recipe.reward.name, "rewards_own:score"}:
        function = load_reward(name)
        for completions in ([right, wrong], [[{"role": "assistant", "content": text}] for text in (right, wrong)]):
            first, second = function(prompts=["", ""], completions=completions, answer=[row, row])
            assert first == 1 and second < 0.5, (name, completions)
    assert main(["rewards", "check", "own.yaml"]) == 0


def test_nothing_is_overwritten_and_nothing_is_left_by_a_failure(capsys: pytest.CaptureFixture[str]) -> None:
    write(KINDS["number"][0])
    Path("rewards_own.py").write_text("mine")
    assert "rewards_own.py exists already and is not overwritten: choose another --name" in failure(
        capsys, 2, "new", "own.jsonl", *MODEL
    )
    assert Path("rewards_own.py").read_text() == "mine" and not Path("own.yaml").exists()
    write(["7"], "one.jsonl")
    assert "one.jsonl has 1 different prompt, and a run needs" in failure(capsys, 2, "new", "one.jsonl", *MODEL)
    assert "no such file or folder" in failure(capsys, 2, "new", "no/such/thing", *MODEL)
    assert "--name a b: use letters" in failure(capsys, 2, "new", "own.jsonl", "--name", "a b", *MODEL)
    assert sorted(path.name for path in Path().iterdir()) == ["one.jsonl", "own.jsonl", "rewards_own.py"]


def test_another_folder_and_a_model_that_is_not_here(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("data").mkdir()
    rows = "".join(f"Question {i},{i}\n" for i in range(9))
    Path("data/my sums.csv").write_text("question,answer\n" + rows)
    assert main(["new", "data/my sums.csv", "--out", "there", "--model", "owner/not-here"]) == 0
    said = capsys.readouterr().out
    assert "lengths: not measured, because the model is not on this machine" in said
    assert "Next, in the folder there:" in said
    recipe = load_recipe("there/my-sums.yaml")
    assert recipe.data.path == [str(tmp_path / "data" / "my sums.csv")]
    assert (tmp_path / "there" / "rewards_my_sums.py").is_file()
    assert recipe.rollout.prompts_per_round == 4 and recipe.data.held_out_size == 2


@pytest.mark.parametrize(
    "name",
    [
        *(
            "123",
            "2024-01-01",
            "1e3",
            "1_000",
            "null",
            "yes",
            "a: #b",
            'it\'s "quoted" $(x)',
            "{question} %s",
            "back\\",
        ),
        'x"""\nimport os\nos.environ["INJECTED"] = "1"\n"""',
        "a\nreplay: {versions: 3}\n#",
        "next\x85line\u2028control\x01\x7f\ufeff\U0001f600",
    ],
)
def test_names_are_inert_texts_in_both_files(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    data = f"{name}.jsonl"
    rows = [{name: f"Question {i}?", "answer": f"town {i}"} for i in range(9)]
    Path(data).write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["new", data, *MODEL]) == 0, capsys.readouterr().err
    (written,), (reward,) = Path().glob("*.yaml"), Path().glob("rewards_*.py")
    recipe = load_recipe(written)
    assert (recipe.name, recipe.data.path, recipe.data.prompt_column) == (written.stem, [data], name)
    keys = {"name", "model", "data", "reward", "rollout", "trainer", "evaluation"}
    assert read_mapping(written, "recipe").keys() == keys
    kinds = [type(one).__name__ for one in ast.parse(reward.read_text()).body]
    assert kinds == ["Expr", "ImportFrom", "FunctionDef", "FunctionDef"]


def test_prompts_that_are_too_long_for_the_model_are_counted_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"Question {i}? " + "word " * (3000 * (i < 3)), "answer": str(i)} for i in range(12)]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["new", "own.jsonl", *MODEL]) == 0
    said = capsys.readouterr().out
    assert "prompts left out: 3 of 12, the longest of 3,0" in said
    assert "the model takes 2,048 tokens, of which completions of 256 leave 1,792 for a prompt" in said
    recipe = load_recipe("own.yaml")
    assert (recipe.data.max_prompt_tokens, recipe.rollout.max_new_tokens) == (2048 - 256, 256)
    parts = prepare(recipe)
    assert len(parts.data.train) + len(parts.data.held_out) == 9


def test_chats_for_a_model_without_a_template_are_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = write_model(tmp_path / "without")
    capsys.readouterr()  # how the weights are written
    rows = [{"messages": [{"role": "user", "content": f"{i}+1="}], "answer": str(i + 1)} for i in range(9)]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert "own.jsonl: this model's tokenizer has no chat template" in failure(
        capsys, 2, "new", "own.jsonl", "--model", str(model)
    )


def test_no_model_has_such_a_name(capsys: pytest.CaptureFixture[str]) -> None:
    write(KINDS["number"][0])
    assert r"model 'a\nb': there is no such folder" in failure(capsys, 2, "new", "own.jsonl", "--model", "a\nb")


def test_columns_that_the_model_is_not_shown_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"question": f"Question {i}?", "choices": ["x", "y"], "answer": "AB"[i % 2]} for i in range(9)]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert main(["new", "own.jsonl", *MODEL]) == 0
    assert "the model is not shown 'choices': write what it needs into the prompt" in capsys.readouterr().out


def test_the_next_commands_are_printed_as_the_program_was_called(capsys: pytest.CaptureFixture[str]) -> None:
    write(["1", "2", "3"])
    assert main(["new", "own.jsonl", *MODEL], session=Session("python -m r2vpo")) == 0
    assert "  python -m r2vpo train own.yaml\n" in capsys.readouterr().out
