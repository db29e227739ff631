"""`r2vpo compare` up to where work begins."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from r2vpo.cli.main import main
from r2vpo.compare.pool import cores
from tests.unit.cli.helpers import failure
from tests.unit.compare.helpers import EXPERIMENT, experiment, full_store, plan
from tests.unit.compare.test_tasks import TASKS, fill, tasks_plan


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(EXPERIMENT))
    return path


@pytest.mark.parametrize("arguments", [["compare"], ["compare", "--list"]])
def test_experiments_are_listed(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any(re.match(r"habit +How much replay, anchor", line) for line in lines)
    assert lines[-1].startswith("Run one with `r2vpo compare")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere"], "nowhere: no such experiment"),
        (["small.yaml", "--seeds", "0"], "'0' is not a whole number from 1 to"),
        (["small.yaml", "--methods", "clip,his"], "--methods: small.yaml has no method his: it has clip, ours"),
        (["small.yaml", "--methods", " ,"], "--methods names nothing: give names, separated by commas, or leave it"),
        (["small.yaml", "--tasks", "one"], "--tasks: small.yaml has no tasks: leave it out"),
        (["small.yaml", "--jobs", "4096"], f"--jobs 4096: this process may use {cores()} cores"),
        (["small.yaml", "--report", "--dry-run"], "not allowed with argument"),
    ],
)
def test_arguments_that_do_not_work(
    file: Path, arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert said in failure(capsys, 2, "compare", *arguments)


def test_no_experiments_is_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("r2vpo.config.shipped.Shipped.folder", lambda self: None)
    assert "no experiments are installed" in failure(capsys, 2, "compare")


def test_an_experiment_can_say_how_many_run_at_once(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(file), "--dry-run"]) == 0
    assert f"time left with {cores()} at once: unknown until a cell is finished" in capsys.readouterr().out
    file.write_text(yaml.safe_dump(EXPERIMENT | {"jobs": 1}))
    assert main(["compare", str(file), "--dry-run"]) == 0
    assert "time left with 1 at once" in capsys.readouterr().out
    file.write_text(yaml.safe_dump(EXPERIMENT | {"jobs": 4096}))
    assert "this process may use" in failure(capsys, 2, "compare", str(file), "--dry-run")


def test_a_report_is_drawn_without_running_anything(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    full_store(plan(experiment()), file.parent / "comparisons")
    assert main(["compare", str(file), "--report", "--seeds", "5"]) == 0
    page, text = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert page.is_file() and "cells: 6 of 10 finished" in text.read_text()
    assert not list(page.parent.glob("worker-*"))


def test_an_experiment_over_tasks_draws_a_page_for_each_and_one_for_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for task in TASKS["tasks"]:
        fill(tasks_plan(tmp_path), task)
    assert main(["compare", "many.yaml", "--report", "--out", "out", "--tasks", "large,steep"]) == 0
    page, text = (Path(line) for line in capsys.readouterr().out.splitlines())
    assert (
        page == Path("out/many/report.html") and "| method | large rounds | small | steep | mean |" in text.read_text()
    )
    assert {path.parent.name for path in Path("out").glob("*/report.html")} == {"many", "many.large", "many.steep"}
    assert main(["compare", "many.yaml", "--dry-run", "--out", "out", "--tasks", "small"]) == 0
    assert "23 of 23 cells are finished" in capsys.readouterr().out
    assert "has no task tiny" in failure(capsys, 2, "compare", "many.yaml", "--tasks", "tiny")


def test_a_folder_that_cannot_be_made(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (file.parent / "taken").write_text("")
    assert "taken" in failure(capsys, 2, "compare", str(file), "--out", "taken")


def test_a_bad_experiment_is_refused_before_transformers_is_imported(file: Path) -> None:
    file.write_text(yaml.safe_dump(EXPERIMENT | {"baseline": "his"}))
    code = (
        "import sys\n"
        "from r2vpo.cli.main import main\n"
        f"assert main(['compare', {str(file)!r}]) == 2\n"
        "assert not {'torch', 'transformers', 'matplotlib'} & set(sys.modules)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr.startswith(f"r2vpo: error: {file}: baseline = his is not a method")
