"""`r2vpo new` on rows with tests of programs: the recipe has the reward that runs them, and both files work."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest

from r2vpo.cli.main import main
from r2vpo.config.recipe import load_recipe
from r2vpo.data import load_data
from r2vpo.rewards import load_reward

MODEL = ("--model", "tiny/random-llama")
BODY = "    return x + {}\n"
CALLED = "def check(candidate):\n    assert candidate(1) == {}\n"
LAYOUTS: dict[str, Any] = {
    "tests": lambda i: {"prompt": f"Write f, which adds {i}.", "tests": [f"assert f(1) == {1 + i}"]},
    "a list and a solution": lambda i: {
        "question": f"Write f, which adds {i}.",
        "solution": f"def f(x):\n{BODY.format(i)}",
        "test_list": [f"assert f(1) == {1 + i}"],
    },
    "mbpp without code": lambda i: {"text": f"Add {i}.", "test_list": [f"assert f(1) == {1 + i}"]},
    "humaneval": lambda i: {
        "prompt": f"def f(x):  # add {i}\n",
        "canonical_solution": BODY.format(i),
        "test": CALLED.format(1 + i),
        "entry_point": "f",
    },
    "humaneval without a solution": lambda i: {
        "prompt": f"def f(x):  # add {i}\n", "test": CALLED.format(1 + i), "entry_point": "f",
    },
}  # fmt: skip


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.delitem(sys.modules, "rewards_own", raising=False)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_the_reward_runs_the_tests(layout: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("own.jsonl").write_text("".join(json.dumps(LAYOUTS[layout](i)) + "\n" for i in range(8)))
    assert main(["new", "own.jsonl", *MODEL]) == 0
    said = capsys.readouterr().out
    solved = "8 of 8 solutions of the rows and to " if "solution" in said else ""
    for name in ("code", "rewards_own:score"):
        assert f"the reward {name}: gives 1 to {solved}none of 8 empty programs" in said
    assert "completions of at most 256 tokens: room for a program" in said
    recipe = load_recipe("own.yaml")
    assert recipe.reward.name == "code"
    row = load_data(recipe.data).train[0]
    (added,) = map(int, re.findall(r"add\w* (\d)", row.key(), re.IGNORECASE))
    programs = [f"def f(x):\n    return x + {number}\n" for number in (added, added + 1)]
    columns: dict[str, Any] = {"answer": [row.answer] * 2, "metadata": [row.columns()["metadata"]] * 2}
    for name in ("code", "rewards_own:score"):
        assert load_reward(name)(prompts=["", ""], completions=programs, **columns) == [1.0, 0.0]
    assert main(["rewards", "check", "own.yaml"]) == 0
    checked = capsys.readouterr().out
    assert ("8 right and 0 wrong of 8 expected" if solved else "0 verdicts") in checked
