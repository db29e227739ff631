"""Every block of code of the documentation is run, or checked as strictly as it can be."""

from __future__ import annotations

import inspect
import json
import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

from r2vpo.cli.arguments import build_parser
from r2vpo.compare.catalog import load_experiment
from r2vpo.config.recipe import load_recipe
from r2vpo.config.shipped import EXPERIMENTS, RECIPES, SUITES
from r2vpo.errors import UserError
from r2vpo.evaluation.schema import load_suite
from r2vpo.integrations.sb3 import R2VPO
from tests.docs.pages import BLOCKS, ROOT, Block, blocks, commands
from tests.parity.installed import PEERS, located

# The README's example trains for most of a minute: tests/integration/test_readme.py runs it.
PYTHON = [block for block in blocks("python") if block.page != "README.md"]
SHELL = [(block, line) for block in blocks("sh") for line in commands(block.text)]
MOST_NOT_RUN = 6


def test_the_languages_are_those_that_are_checked() -> None:
    assert {block.language for block in BLOCKS} <= {"python", "yaml", "sh", "json", "text", "console", ""}


def test_few_blocks_are_not_run() -> None:
    assert len([block for block in BLOCKS if block.not_run]) <= MOST_NOT_RUN


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.name)
def test_python_runs(block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    if "rl_zoo3" in block.text:
        located("rl_zoo3", "2.9.2", "rl_zoo3")
        monkeypatch.setattr(sys, "path", [*sys.path, str(PEERS)])
    exec(compile(block.text, block.name, "exec"), {"__name__": "example"})


@pytest.mark.parametrize("block", blocks("yaml"), ids=lambda block: block.name)
def test_yaml_is_a_recipe_a_suite_or_an_experiment(block: Block, tmp_path: Path) -> None:
    """Sections alone are tried in the quickstart's recipe, where they take the place of its own."""
    keys = yaml.safe_load(block.text)
    file = tmp_path / "mine.yaml"
    if block.page == "docs/guide/rl_zoo.md":
        known = {*inspect.signature(R2VPO).parameters, "n_timesteps", "n_envs", "normalize"}
        assert all(set(entry) <= known for entry in keys.values())
    elif block.page == "docs/comparing.md":
        file.write_text(block.text, encoding="utf-8")
        load_experiment(file)
    elif block.page == "docs/evaluation.md":
        file.write_text(block.text, encoding="utf-8")
        load_suite(file)
    else:
        base = {} if "name" in keys else yaml.safe_load(RECIPES.find("quickstart").read_text(encoding="utf-8"))
        if "model" in keys and "data" not in keys:
            base.pop("model", None)
        file.write_text(yaml.safe_dump(base | keys), encoding="utf-8")
        load_recipe(file)


@pytest.mark.parametrize("block", blocks("json"), ids=lambda block: block.name)
def test_json_is_one_object_per_line(block: Block) -> None:
    assert all(isinstance(json.loads(line), dict) for line in block.text.splitlines())


@pytest.mark.parametrize(("block", "line"), SHELL, ids=[f"{block.name}:{line[:50]}" for block, line in SHELL])
def test_a_command_is_one_that_exists(block: Block, line: str) -> None:
    words = shlex.split(line, comments=True)
    while "=" in words[0]:  # variables of the environment
        words.pop(0)
    program = Path(words[0]).name
    assert program in CHECKS, f"{program}: add it to CHECKS, with what can be checked"
    CHECKS[program](words[1:])


def _r2vpo(words: list[str]) -> None:
    arguments = build_parser().parse_args(words)
    overrides = getattr(arguments, "overrides", [])
    if getattr(arguments, "recipe", None) in RECIPES.listed():
        load_recipe(RECIPES.find(arguments.recipe), overrides)
    elif hasattr(arguments, "recipe") and overrides:
        quickstart = RECIPES.find("quickstart")
        load_recipe(quickstart, [item for item in overrides if not item.startswith("data.")])
    if getattr(arguments, "suite", None) not in (None, "NAME"):
        load_suite(SUITES.find(arguments.suite), overrides)
    if getattr(arguments, "experiment", None) is not None:
        assert arguments.experiment in EXPERIMENTS.listed()


def _make(words: list[str]) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert {word for word in words if "=" not in word} <= targets


def _python(words: list[str]) -> None:
    if words[0] != "-m":
        assert (ROOT / words[0]).is_file()
    elif words[1] in ("r2vpo", "r2vpo.cli.main"):
        _r2vpo(words[2:])
    else:
        assert words[1] in ("pip", "venv", "pytest", "verl.trainer.main_ppo"), words[1]


def _accelerate(words: list[str]) -> None:
    assert words[0] == "launch"
    assert all((ROOT / word).is_file() for word in words if word.endswith(".yaml"))
    _python(words[words.index("-m") :])


def _runs_elsewhere(words: list[str]) -> None:
    """A program of others, or one that changes the machine: only its files can be looked at."""
    for word in words:
        assert not word.endswith(".lock") or (ROOT / word).is_file(), word


OTHERS = """cd curl docker git hf llama-cli llama-server ollama pip pre-commit source srun ssh tensorboard torchrun
trackio uv vllm wandb"""
CHECKS = {
    "r2vpo": _r2vpo,
    "make": _make,
    "python": _python,
    "python3": _python,
    "python3.11": _python,
    "accelerate": _accelerate,
    "gpu_check.sh": _runs_elsewhere,
    "run": _runs_elsewhere,  # .ci/run
    **dict.fromkeys(OTHERS.split(), _runs_elsewhere),
}


def test_a_wrong_command_is_noticed() -> None:
    """What the checks above would say about mistakes."""
    for wrong in (
        "train quickstart --set trainer.max_stepz=4",
        "train quickstart --sett seed=1",
        "eval m --suite nowhere",
    ):
        with pytest.raises(UserError):
            _r2vpo(shlex.split(wrong))
    with pytest.raises(AssertionError):
        _make(["quikstart"])
