"""Completion: what may follow, and that the shells themselves offer it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.completion import SCRIPTS, candidates
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


ASK = {
    # What readline does: it sets these variables and calls the registered function.
    "bash": 'COMP_WORDS=(r2vpo train quickstart --accelerate fsd); COMP_CWORD=4; _r2vpo; echo "${COMPREPLY[@]}"; '
    "complete -p r2vpo >/dev/null",
    "fish": 'complete -C "r2vpo train quickstart --accelerate fsd"',
    # The function that zsh calls, with its builtin for adding matches replaced by one that prints them.
    "zsh": "compadd() { shift; echo $@ }; words=(r2vpo train quickstart --accelerate fsd); CURRENT=5; _r2vpo",
}
START = {"bash": "", "fish": "", "zsh": "autoload -Uz compinit; compinit -D\n"}


@pytest.mark.parametrize("shell", SCRIPTS)
def test_a_shell_completes(shell: str, tmp_path: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    program = tmp_path / "r2vpo"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m r2vpo "$@"\n')
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "HOME": str(tmp_path)}
    script = tmp_path / "script"
    printed = subprocess.run(["r2vpo", "completion", shell], env=environment, capture_output=True, text=True)
    script.write_text(printed.stdout)
    line = f"{START[shell]}source {script}\n{ASK[shell]}\n"
    options = {"bash": ["--norc"], "fish": ["--no-config"], "zsh": ["-f"]}[shell]
    done = subprocess.run([shell, *options, "-c", line], env=environment, capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["fsdp2"], done.stderr
