"""Each example runs as its own text says, with fewer steps, in a folder of its own and with no way to a hub."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[2] / "examples"
RUNS = {  # what is given, what it leaves, what it prints
    "math_lora.py": (["1"], ["runs/math-lora/adapter_model.safetensors"], "train_runtime"),
    "plain_loop.py": (["2"], [], "round 1: right"),
    "r2vpo_in_one_page.py": (["2"], [], "held-out sums after"),
    "custom_reward.py": (["1"], [], "rewards/repeats/mean"),
    "control.py": (["1"], ["runs/control/returns.png", "runs/control/pendulum.zip"], "mean return"),
    "half_cheetah.py": (["5"], ["runs/half_cheetah/policy.zip", "runs/half_cheetah/normalize.pkl"], "mean return"),
    "code.py": (["1"], [], "rewards/code/mean"),
    "reward_model_win_rate.py": (["1", "3"], ["runs/reward-model/model.safetensors", "evaluations"], "win rate"),
}


def test_every_example_is_here() -> None:
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*RUNS, "rl_zoo.py"}  # test_rl_zoo.py runs it


@pytest.mark.first
@pytest.mark.slow
@pytest.mark.parametrize("name", RUNS)
def test_an_example_runs(tmp_path: Path, name: str) -> None:
    given, left, printed = RUNS[name]
    assert f"python examples/{name}" in (EXAMPLES / name).read_text(encoding="utf-8")
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *given],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert printed in done.stdout, done.stdout[-2000:]
    for path in left:
        assert (tmp_path / path).exists(), sorted(tmp_path.rglob("*"))
