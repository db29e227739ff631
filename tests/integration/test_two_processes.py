"""Two processes over gloo give the lambda, the step size and the parameters of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def launch(folder: Path, processes: int, *, rows: int = 16, save_steps: int = 0, resume: Path | None = None) -> dict:
    given = [str(rows // processes), str(save_steps), str(resume or "")]
    return launched("tests.integration.two_processes", folder, processes, given)


def launched(module: str, folder: Path, processes: int, given: list[str]) -> dict:
    folder.mkdir()
    command, options = launch_command(module, processes, [str(folder), *given])
    done = subprocess.run(command, **options)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads((folder / "result.json").read_text())


def launch_command(module: str, processes: int, given: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Return a command that starts a module in so many processes, and the options of `subprocess.run` for it."""
    # `--cpu` alone starts one process unless there is MPI; torch's launcher starts both, and the variable keeps them on
    # the CPU, where accelerate takes gloo.
    kind = ["--cpu"] if processes == 1 else ["--multi_gpu", "--main_process_port", "0"]
    command = [sys.executable, "-m", "accelerate.commands.launch", *kind, "--num_processes", str(processes)]
    command += ["--num_machines", "1", "--mixed_precision", "no", "--dynamo_backend", "no"]
    command += ["-m", module, *given]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ACCELERATE_USE_CPU": "true"}
    environment["PYTHONPATH"] = os.pathsep.join([str(ROOT / "src"), str(ROOT)])
    return command, {"cwd": ROOT, "env": environment, "capture_output": True, "text": True, "timeout": 300}


def test_a_group_of_an_evaluation_may_lie_in_two_processes(tmp_path: Path) -> None:
    """Each process has one row of a prompt's two."""
    one, two = (
        launched("tests.integration.split_evaluation", tmp_path / str(count), count, [str(2 // count)])
        for count in (1, 2)
    )
    assert (one["processes"], two["processes"]) == (1, 2)
    assert len(one["texts"]) == 12 and len(set(one["texts"])) > 2
    assert two["texts"] == one["texts"]
    assert two["reward"] == pytest.approx(one["reward"], rel=1e-6)


def test_two_processes_are_one_run(tmp_path: Path) -> None:
    one, two = launch(tmp_path / "one", 1), launch(tmp_path / "two", 2)
    assert (one["processes"], two["processes"]) == (1, 2)
    assert two["rollouts"] == one["rollouts"] == 32
    assert two["groups"] == one["groups"] == [group for group in (16, 20, 24, 28) for _ in range(4)]
    assert two["dual"] == pytest.approx(one["dual"], rel=1e-5)
    assert two["scale"] == pytest.approx(one["scale"], rel=1e-4)
    assert two["ratio_variance"] == pytest.approx(one["ratio_variance"], rel=1e-3, abs=1e-9)
    assert max(one["ratio_variance"]) > 1e-4, "nothing moved, so that nothing was compared"
    assert_same_parameters(tmp_path / "one", tmp_path / "two")


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2)])
def test_another_number_of_processes_goes_on_with_a_checkpoint(tmp_path: Path, before: int, after: int) -> None:
    """A round has three steps: step 2 is within one, step 3 at its end. Nothing is drawn, so that both are one run."""
    whole = launch(tmp_path / "whole", before, save_steps=1)
    for step in (2, 3):
        checkpoint = tmp_path / "whole" / "out" / f"checkpoint-{step}"
        resumed = launch(tmp_path / f"from{step}", after, resume=checkpoint)
        assert (whole["processes"], resumed["processes"]) == (before, after)
        assert resumed["rollouts"] == whole["rollouts"] == 32
        assert resumed["dual"] == pytest.approx(whole["dual"], rel=1e-5)
        assert resumed["scale"] == pytest.approx(whole["scale"], rel=1e-4)
        assert resumed["ratio_variance"] == pytest.approx(whole["ratio_variance"], rel=1e-3, abs=1e-9)
        assert_same_parameters(tmp_path / "whole", tmp_path / f"from{step}")


def assert_same_parameters(left: Path, right: Path) -> None:
    values = torch.load(right / "parameters.pt")
    for name, value in torch.load(left / "parameters.pt").items():
        torch.testing.assert_close(values[name], value, rtol=0, atol=1e-5)
