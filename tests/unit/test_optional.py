"""A missing package is named in one line before any work, and nothing but its own feature imports it."""

from __future__ import annotations

import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from r2vpo.cli.main import main
from r2vpo.data.options import ReasoningGymOptions
from r2vpo.data.procedural import build_reasoning_gym
from r2vpo.errors import UserError
from r2vpo.models.convert import gguf_tokenizer
from r2vpo.optional import PACKAGES, remedy, require
from r2vpo.rewards import load_reward

ROOT = Path(__file__).parents[2]
ADDITION = {"family": "chain_sum", "difficulty": "easy", "params": {"max_digits": 1}}


def test_every_package_is_in_the_extra_that_is_named() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for package, extra in PACKAGES.values():
        # vLLM comes with TRL's own extra, which knows the versions that TRL takes.
        wanted = "trl[vllm]" if package == "vllm" else package
        assert any(line.startswith(wanted) for line in extras[extra]), (package, extra)


def test_all_is_everything_that_runs_everywhere() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    [line] = extras["all"]
    assert set(line.partition("[")[2].rstrip("]").split(",")) | {"all", "trl", "trackio", "vllm", "wandb"} == set(
        extras
    )


@pytest.mark.parametrize(
    ("module", "feature", "use"),
    [
        (
            "reasoning_gym",
            "data.source = reasoning_gym needs reasoning-gym",
            lambda: build_reasoning_gym(ReasoningGymOptions(source="reasoning_gym", mixture=[ADDITION]), 0),
        ),
        (
            "reasoning_gym",
            "the reward reasoning_gym needs reasoning-gym",
            lambda: load_reward({"name": "reasoning_gym"}),
        ),
        ("langdetect", "the reward constraints needs langdetect", lambda: load_reward({"name": "constraints"})),
        ("gguf", "embedded/smollm2-135m needs gguf", gguf_tokenizer),
    ],
)
def test_the_line_names_feature_package_and_extra(
    monkeypatch: pytest.MonkeyPatch, module: str, feature: str, use: Any
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(UserError) as caught:
        use()
    assert str(caught.value) == f"{feature}, which is not installed: {remedy(module)}"
    assert remedy(module) == f"pip install 'r2vpo[{PACKAGES[module][1]}]'"


def test_an_installed_one_is_accepted() -> None:
    require("gguf", "this test")


@pytest.mark.parametrize(("module", "experiment"), [("matplotlib", "habit"), ("sb3_contrib", "control")])
def test_no_comparison_starts_that_could_not_be_run_or_reported(
    module: str, experiment: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.chdir(tmp_path)
    assert main(["compare", experiment]) == 2
    package, extra = PACKAGES[module]
    said = capsys.readouterr().err
    assert f"needs {package}, which is not installed: pip install 'r2vpo[{extra}]'" in said
    assert not list(tmp_path.iterdir())


def test_other_modules_do_not_import_them() -> None:
    """Only reports draw at import, only the store has a database, only control tasks need their libraries; the scorer
    is the code of a child process."""
    script = f"""
import importlib, pkgutil, sys
for name in {sorted(PACKAGES)}:
    sys.modules[name] = None
import r2vpo
for module in pkgutil.walk_packages(r2vpo.__path__, "r2vpo."):
    name = module.name
    if name.startswith(("r2vpo.sandbox.", "r2vpo.integrations.")):
        continue
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        print(name, error.name.split(".")[0])
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    refused = [line.split() for line in done.stdout.splitlines()]
    assert ["r2vpo.rewards.reasoning_gym_scorer", "reasoning_gym"] in refused
    drawing = {name for name, module in refused if module == "matplotlib"}
    assert drawing and all(name.startswith(("r2vpo.report.", "r2vpo.compare.")) for name in drawing)
    stored = {name for name, module in refused if module in ("sqlalchemy", "zstandard")}
    using = ("r2vpo.store", "r2vpo.store.", "r2vpo.recording.", "r2vpo.trl.stored", "r2vpo.training.rescoring")
    assert "r2vpo.store" in stored and all(name in using or name.startswith(using[1:4]) for name in stored)
    control = {name for name, module in refused if module in ("stable_baselines3", "sb3_contrib")}
    assert control and all(name.startswith("r2vpo.compare.control.") for name in control)
    known = {"reasoning_gym", "matplotlib", "sqlalchemy", "zstandard", "stable_baselines3", "sb3_contrib"}
    assert {module for _, module in refused} <= known
