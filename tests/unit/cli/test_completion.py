"""Completion: what may follow; the shells themselves are in test_completion_of_settings."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.completion import candidates
from r2vpo.config.run_directory import RunDirectory
from r2vpo.config.shipped import RECIPES, SUITES

LINES = {
    ("tr",): ["train"],
    ("train", "quick"): ["quickstart"],
    ("train", ""): list(RECIPES.listed()),
    ("train", "quickstart", "--acc"): ["--accelerate"],
    ("train", "quickstart", "--set", "seed=1", "--accelerate", "fs"): ["fsdp2"],
    # The value of an option is no recipe, and neither is what follows one.
    ("train", "--runs-dir", "quick"): [],
    ("train", "quickstart", ""): [],
    ("train", "--debug", "quick"): ["quickstart"],
    ("eval", "embedded/smollm2-135m", "--suite", "arith"): ["arithmetic"],
    ("eval", "--suite", ""): list(SUITES.listed()),
    ("eval", "tiny"): ["tiny/random-llama"],
    ("eval", "x", "--device", ""): ["auto", "cpu", "cuda"],
    ("rewards", "ch"): ["check"],
    ("rewards", "check", "hab"): ["habit"],
    ("nothing", "x"): [],
}


@pytest.mark.parametrize("words", LINES, ids=" ".join)
def test_what_may_follow(words: tuple[str, ...]) -> None:
    assert candidates(build_parser(), words) == LINES[words]


def test_runs_are_offered(run: RunDirectory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    name = str(run.path.relative_to(tmp_path))
    for words in (["report", ""], ["train", "small.yaml", "--resume", "runs/"]):
        assert candidates(build_parser(), words) == [name]


def test_it_imports_nothing_heavy() -> None:
    code = (
        "import sys\nfrom r2vpo.cli.main import main\n"
        "assert main(['completion', 'bash', '--for', 'eval', '']) == 0\n"
        "assert not {'torch', 'transformers', 'pydantic'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "embedded/smollm2-135m\n" in done.stdout, done.stderr
