"""R²VPO in RL Baselines3 Zoo itself: every entry of the shipped settings trains, and an agent is resumed and shown."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest
import yaml

from tests.parity.installed import PEERS, located

ROOT = Path(__file__).parents[2]
EXAMPLE, SETTINGS = ROOT / "examples" / "rl_zoo.py", ROOT / "hyperparams" / "r2vpo.yml"

pytestmark = pytest.mark.slow


def zoo(folder: Path, *arguments: str) -> str:
    """Run the example with the zoo's own arguments, and return what it prints."""
    located("rl_zoo3", "2.9.2", "rl_zoo3")
    done = subprocess.run(
        [sys.executable, str(EXAMPLE), *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": os.pathsep.join([os.environ.get("PYTHONPATH", ""), str(PEERS)])},
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def train(folder: Path, task: str, *more: str, settings: Sequence[str] = ()) -> str:
    """Train for a few rounds of eight steps per environment, and return what is printed."""
    given = [
        "--algo",
        "r2vpo",
        "--env",
        task,
        "--conf-file",
        str(SETTINGS),
        "--log-folder",
        "logs",
        "--eval-freq",
        "-1",
    ]
    small = ["--num-threads", "1", "-n", "200", "--hyperparams", "n_steps:8", "batch_size:16", *settings]
    return zoo(folder, "train", *given, *more, *small)


@pytest.mark.parametrize("task", yaml.safe_load(SETTINGS.read_text(encoding="utf-8")))
def test_every_entry_trains(tmp_path: Path, task: str) -> None:
    said = train(tmp_path, task)
    assert "decision_variance_target" in said and "step_scale" in said
    assert (tmp_path / "logs" / "r2vpo" / f"{task}_1" / f"{task}.zip").is_file()


def test_an_agent_is_resumed_and_shown(tmp_path: Path) -> None:
    train(tmp_path, "CartPole-v1", settings=["replay_versions:1"])
    agent = tmp_path / "logs" / "r2vpo" / "CartPole-v1_1" / "CartPole-v1.zip"
    train(tmp_path, "CartPole-v1", "--trained-agent", str(agent))
    shown = zoo(
        tmp_path, "enjoy", "--algo", "r2vpo", "--env", "CartPole-v1", "--folder", "logs", "--no-render", "-n", "200"
    )
    assert "Episode Reward" in shown


def test_without_a_command_it_says_how_to_use_it(tmp_path: Path) -> None:
    located("rl_zoo3", "2.9.2", "rl_zoo3")
    with pytest.raises(AssertionError, match=r"python examples/rl_zoo\.py train"):
        zoo(tmp_path)
