"""The script for a machine with GPUs: what it runs is understood, and what it reports is what happened."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from r2vpo.cli.arguments import build_parser
from r2vpo.config.recipe import load_recipe
from r2vpo.config.shipped import RECIPES
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.trl.vllm import SERVE
from tests.gpu_check import ROOT, SCRIPT, pretend


@pytest.mark.skipif(torch.cuda.is_available(), reason="it tests what the script says where there is no GPU")
def test_without_a_gpu_it_says_so() -> None:
    done = subprocess.run(["bash", str(SCRIPT)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.startswith("error: nvidia-smi finds no GPU") and done.stderr.count("\n") == 1


def test_an_unknown_step_is_refused(tmp_path: Path) -> None:
    said, status, _ = pretend(tmp_path, "trian")
    assert status == 2 and said.startswith("error: there is no step trian: choose from doctor")


def test_an_interpreter_without_a_gpu_is_refused(tmp_path: Path) -> None:
    said, status, _ = pretend(tmp_path, python="exit 1")
    assert status == 2 and "set PYTHON to one that has" in said


def test_its_runs_are_ones_that_the_command_line_takes(tmp_path: Path) -> None:
    # A trainer waits for its server, which is started beside it.
    summary, status, told = pretend(tmp_path, gpus=2, python='case "$*" in *"mode: server"*) sleep 2;; esac')
    assert status == 0 and summary.count("| passed |") == 8 and summary.count("- A GPU") == 2
    own = [call[2:] for call in told if call[:2] == ["-m", "r2vpo.cli.main"] and call[2] != "openrlhf"]
    assert [call[0] for call in own] == ["doctor", "train", "train", "train"]
    recipes = []
    for call in own:
        arguments = build_parser().parse_args(call)
        if call[0] == "train":
            recipes.append(load_recipe(RECIPES.find(arguments.recipe), arguments.overrides))
    assert [recipe.rollout.sampler for recipe in recipes] == ["shared_prefix", "vllm", "vllm"]
    assert all(recipe.trainer.device == "cuda" for recipe in recipes)
    assert recipes[-1].rollout.vllm is not None and recipes[-1].rollout.vllm.mode == "server"
    (served,) = (call for call in told if call[:2] == ["-m", "vllm.entrypoints.openai.api_server"])
    assert {*shlex.split(SERVE)[4:]} <= {*served}


def test_what_fails_takes_too_long_or_is_missing_is_in_the_summary(tmp_path: Path) -> None:
    python = 'case "$*" in *gpu_parity*) echo beyond; exit 3;; *"train quickstart"*) sleep 60;; esac'
    summary, status, _ = pretend(tmp_path, "parity", "train", "verl", python=python, LIMIT="2", VERL_PYTHON="")
    assert status == 1
    assert "| parity | failed (3) |" in summary and "| beyond |" in summary
    assert "| train | failed (124) |" in summary
    assert "| verl | left out: VERL_PYTHON is not set |" in summary


def test_the_core_is_compared_by_every_objective() -> None:
    """On the CPU with itself, so that float32 is equal and bfloat16 is not."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "gpu_parity.py"), "--device", "cpu"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert all("0.0e+00 nats" in line for line in lines if line.startswith("float32"))
    assert not any("0.0e+00 nats" in line for line in lines if line.startswith("bfloat16"))
    assert len(lines) == 2 * len(OBJECTIVES)
