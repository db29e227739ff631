"""Which processes a command starts, and what is refused before any is started."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.failures import EndOfProcess
from r2vpo.cli.launch import Launch, launch_arguments, planned
from r2vpo.cli.process import FILE, Report, _Launched, read_reports, resume_command, write_report
from r2vpo.cli.processes import _raise_first
from r2vpo.config.recipe import load_recipe
from r2vpo.errors import UserError
from tests.unit.cli.helpers import failure


def launch(recipe: Path, *options: str, overrides: tuple[str, ...] = ()) -> Launch | None:
    return planned(build_parser().parse_args(["train", str(recipe), *options]), load_recipe(recipe, overrides))


@pytest.fixture
def gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four GPUs, as far as their number is concerned."""
    monkeypatch.setattr("r2vpo.cli.launch._devices", lambda: 4)


def test_without_an_option_there_is_nothing_to_start(recipe: Path) -> None:
    assert launch(recipe) is None


@pytest.mark.usefixtures("gpus")
@pytest.mark.parametrize(
    ("options", "kind", "processes", "machines"),
    [
        (["--accelerate", "multi_gpu"], "MULTI_GPU", 4, 1),
        (["--num-processes", "2"], "MULTI_GPU", 2, 1),
        (["--accelerate", "fsdp2"], "FSDP", 4, 1),
        (["--accelerate", "fsdp2", "--num-machines", "2", "--main-process-ip", "first"], "FSDP", 8, 2),
        (["--accelerate", "single_gpu"], "NO", 1, 1),
    ],
)
def test_there_is_one_process_for_each_gpu(
    recipe: Path, options: list[str], kind: str, processes: int, machines: int
) -> None:
    found = launch(recipe, *options)
    assert found is not None and not found.on_cpu
    assert (found.kind, found.processes, found.machines) == (kind, processes, machines)
    assert found.in_this_process == (kind == "NO")


@pytest.mark.usefixtures("gpus")
def test_one_process_sees_one_gpu(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = launch(recipe, "--accelerate", "single_gpu")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert found is not None and found.environment() == {"CUDA_VISIBLE_DEVICES": "0"}
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "3,1")
    assert found.environment() == {"CUDA_VISIBLE_DEVICES": "3"}


@pytest.mark.usefixtures("gpus")
def test_a_recipe_for_the_cpu_hides_the_gpus(recipe: Path) -> None:
    found = launch(recipe, "--num-processes", "2", overrides=("trainer.device=cpu",))
    assert found is not None and found.file.stem == "cpu"
    assert found.environment() == {"ACCELERATE_USE_CPU": "true", "CUDA_VISIBLE_DEVICES": ""}


def test_a_file_of_ones_own_says_how_many(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    file.write_text("compute_environment: LOCAL_MACHINE\ndistributed_type: MULTI_CPU\nnum_processes: 4\nuse_cpu: true")
    found = launch(recipe, "--accelerate", str(file))
    assert found is not None and (found.processes, found.on_cpu) == (4, True)
    found = launch(recipe, "--accelerate", str(file), "--num-processes", "2")
    assert found is not None and found.processes == 2


@pytest.mark.skipif(torch.accelerator.is_available(), reason="says what happens without a GPU")
@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--accelerate", "multi_gpu"], "no GPU to start a process for: give --num-processes N"),
        (["--accelerate", "zero3"], "no GPU to start a process for"),
        (["--accelerate", "fsdp2", "--num-processes", "2"], "accelerate shards weights over GPUs only"),
        (["--accelerate", "single_gpu"], "needs a GPU, and torch sees none"),
        (["--accelerate", "multi_gpus"], "no such configuration of accelerate; did you mean multi_gpu?"),
        (["--num-processes", "3"], "do not divide over 3 processes"),
        (["--num-processes", "3", "--num-machines", "2"], "3 processes do not divide over 2 machines"),
        (["--num-processes", "2", "--num-machines", "2"], "--main-process-ip HOST"),
        (["--num-processes", "2", "--machine-rank", "1"], "the last of 1 machines has 0"),
        (["--num-processes", "0"], "is not a whole number"),
        (["--num-processes", "2", "--set", "trainer.device=cuda"], "but trainer.device = cuda"),
    ],
)
def test_what_cannot_start_is_refused(
    recipe: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path, options: list[str], said: str
) -> None:
    assert said in failure(capsys, 2, "train", str(recipe), "--runs-dir", str(tmp_path / "runs"), *options)
    assert not (tmp_path / "runs").exists()


def test_a_file_that_accelerate_cannot_read(recipe: Path, tmp_path: Path) -> None:
    file = tmp_path / "own.yaml"
    for content in ("no_such_key: 1\ncompute_environment: LOCAL_MACHINE\n", "[", ""):
        file.write_text(content)
        with pytest.raises(UserError, match="accelerate cannot read this configuration"):
            launch(recipe, "--accelerate", str(file))


def test_missing_deepspeed_is_named(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("r2vpo.cli.launch.find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs DeepSpeed, which is not installed: pip install deepspeed"):
        launch(recipe, "--accelerate", "zero3", "--num-processes", "2")


def test_the_options_are_repeated_for_the_command_that_resumes() -> None:
    given = ["--accelerate", "fsdp2", "--num-processes", "8", "--machine-rank", "0"]
    assert launch_arguments(build_parser().parse_args(["train", "a", *given])) == given


def test_reports_are_read_as_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = Report(rank=1, code=2, line="error: x", when=3.5)
    (tmp_path / "attempt_0" / "1").mkdir(parents=True)
    monkeypatch.setitem(os.environ, FILE, str(tmp_path / "attempt_0" / "1" / "error.json"))
    write_report(report)
    assert read_reports(tmp_path) == [report]


def test_a_process_that_is_killed_has_noted_how_its_run_resumes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It reports nothing, and perhaps none of the others does."""
    (tmp_path / "logs" / "1").mkdir(parents=True)
    monkeypatch.setitem(os.environ, FILE, str(tmp_path / "logs" / "1" / "error.json"))
    session = _Launched("r2vpo")
    session.arguments = ["my.yaml", "--set", "seed=1"]
    assert resume_command(tmp_path / "logs", "r2vpo") is None, "no run has begun"
    run = tmp_path / "runs" / "a"
    (run / "checkpoints").mkdir(parents=True)
    session.started(run)
    assert resume_command(tmp_path / "logs", "r2vpo") is None, "there is no checkpoint"
    (run / "checkpoints" / "checkpoint-4").mkdir()
    (run / "checkpoints" / "checkpoint-4" / "trainer_state.json").write_text("{}")
    assert resume_command(tmp_path / "logs", "r2vpo") == f"r2vpo train my.yaml --set seed=1 --resume {run}"
    assert read_reports(tmp_path / "logs") == []


class Failed:
    """An exit code, as torch's launcher gives it."""

    def __init__(self, exitcode: int) -> None:
        self.exitcode = exitcode


LOST = Report(0, 1, "error: unexpected RuntimeError: Connection closed by peer", 1.0)
TERMINATED = Report(0, 143, "terminated; resume from the last checkpoint with: r2vpo", 1.0)
WRONG = Report(1, 2, "error: the reward fails", 2.0)


@pytest.mark.parametrize(
    ("reports", "codes", "line", "code"),
    [
        # The first to fail is not the one that was noticed first.
        ([LOST, WRONG], {0: 1, 1: 2}, "error: the reward fails", 2),
        ([TERMINATED, WRONG], {0: 143, 1: 2}, "error: the reward fails", 2),
        ([WRONG], {0: -9, 1: 2}, "error: the reward fails", 2),
        ([LOST], {0: 1, 1: -9}, "error: process 1 of 2 was ended by SIGKILL, as when memory runs out; resume", 1),
        ([TERMINATED], {0: 143, 1: -11}, "error: process 1 of 2 was ended by SIGSEGV", 1),
        ([], {0: -15, 1: -9}, "error: process 1 of 2 was ended by SIGKILL, as when memory runs out; resume", 1),
        ([TERMINATED], {0: 143}, "terminated; resume from the last checkpoint with: r2vpo", 143),
        ([LOST], {0: 1}, "error: unexpected RuntimeError", 1),
        ([], {1: 5}, "error: process 1 of 2 ended with code 5", 5),
    ],
)
def test_the_cause_is_told_from_its_consequences(
    reports: list[Report], codes: dict[int, int], line: str, code: int
) -> None:
    with pytest.raises(EndOfProcess) as end:
        _raise_first(reports, {rank: Failed(number) for rank, number in codes.items()}, 2, "r2vpo train --resume x")
    assert end.value.line.startswith(line) and end.value.code == code
