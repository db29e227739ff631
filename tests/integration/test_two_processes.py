"""Two processes over gloo give the lambda, the step size and the parameters of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[2]


def launch(folder: Path, processes: int) -> dict:
    folder.mkdir()
    # `--cpu` alone starts one process unless there is MPI; torch's launcher starts both, and the variable keeps them on
    # the CPU, where accelerate takes gloo.
    kind = ["--cpu"] if processes == 1 else ["--multi_gpu", "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", str(processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", "tests.integration.two_processes", str(folder), str(16 // processes)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "ACCELERATE_USE_CPU": "true"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    one, two = launch(tmp_path / "one", 1), launch(tmp_path / "two", 2)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["rollouts"] == one["rollouts"] == 32
    assert two["dual"] == pytest.approx(one["dual"], rel=1e-5)
    assert two["scale"] == pytest.approx(one["scale"], rel=1e-4)
    assert two["ratio_variance"] == pytest.approx(one["ratio_variance"], rel=1e-3, abs=1e-9)
    assert max(one["ratio_variance"]) > 1e-4, "nothing moved, so that nothing was compared"
    left, right = (torch.load(tmp_path / name / "parameters.pt") for name in ("one", "two"))
    for name, value in left.items():
        torch.testing.assert_close(right[name], value, rtol=0, atol=1e-5)
