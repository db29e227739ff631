"""Two processes: a whole run of a recipe in which each evaluates a share, and answers from sharded weights."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.config.records import read_records
from tests.integration.cli import RECIPE

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def train(folder: Path, processes: int, *options: str, overrides: tuple[str, ...] = ()) -> Path:
    folder.mkdir()
    recipe = folder / "small.yaml"
    recipe.write_text(RECIPE)
    kind = ["--cpu"] if processes == 1 else ["--multi_gpu", "--main_process_port", "0"]
    command = [
        sys.executable,
        "-m",
        "accelerate.commands.launch",
        *(options or kind),
        "--num_processes",
        str(processes),
    ]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", "r2vpo.cli.main", "train", str(recipe), "--runs-dir", str(folder / "runs")]
    command += ["--set", "trainer.max_steps=4", "trainer.bf16_autocast=false", "rollout.dtype=model", *overrides]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    (run,) = (folder / "runs").iterdir()
    return run


def records(run: Path) -> list[dict]:
    return read_records(run / "evaluations.jsonl")


def test_two_processes_evaluate_as_one_does(tmp_path: Path) -> None:
    one, two = train(tmp_path / "one", 1), train(tmp_path / "two", 2)
    for name in ("correct", "accuracy", "by_difficulty"):
        assert records(two)[0][name] == records(one)[0][name]
    assert [record["step"] for record in records(two)] == [record["step"] for record in records(one)] == [0, 4]
    summary = json.loads((two / "summary.json").read_text())
    assert summary["optimizer_steps"] == 4 and summary["rollouts_generated"] == 16


def test_weights_sharded_over_two_processes_answer_as_whole_ones_do(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", "2"]
    command += ["-m", "tests.integration.sharded_sampling", str(tmp_path)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    first, second = (json.loads((tmp_path / f"{rank}.json").read_text()) for rank in (0, 1))
    assert first["processes"] == 2 and len(first["parts"]) == first["parameters"], "not every weight is sharded"
    assert max(first["parts"]) < 1
    assert first["sharded"] == first["whole"] == second["sharded"] == second["whole"]
    lengths = {len(answer) for answer in first["whole"]}
    assert len(first["whole"]) == 5 and len(lengths) > 1, "all answers end together, so nobody had to wait"
