"""`r2vpo runs`: the state of every run, and a check that names what is damaged."""

import json
import os
from pathlib import Path

import pytest

from r2vpo.checkpoint_files import write_list
from r2vpo.cli.main import main
from r2vpo.config.folder_lock import working_in
from r2vpo.config.run_directory import SUMMARY_KEYS, RunDirectory, create_run
from r2vpo.errors import UserError
from tests.unit.cli.helpers import failure
from tests.unit.report.synthetic_run import synthetic_recipe


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A finished run, one that was stopped, and one whose newest weights were cut short."""
    for name in ("finished", "stopped", "cut"):
        monkeypatch.setattr("time.strftime", lambda *_, name=name: name)
        run = create_run(synthetic_recipe(), tmp_path)
        for step in (1, 2, 3):
            run.append_metrics({"step": step})
        for step in (0, 2):
            run.append_evaluation({"step": step, "split": "held_out", "accuracy": {"value": step / 8}})
        checkpoint = run.checkpoints / "checkpoint-2"
        checkpoint.mkdir()
        (checkpoint / "model.safetensors").write_text("weights")
        write_list(checkpoint, name="checkpoint-2")
    RunDirectory(tmp_path / "synthetic-finished").write_summary(dict.fromkeys(SUMMARY_KEYS, 1) | {"optimizer_steps": 2})
    (tmp_path / "synthetic-cut" / "checkpoints" / "checkpoint-2" / "model.safetensors").write_text("weigh")
    return tmp_path


def test_the_list_has_every_run_with_its_state(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopped = folder / "synthetic-stopped"
    assert main(["runs", "--runs-dir", str(folder)]) == 0
    shown = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()}
    assert shown["synthetic-finished"][:5] == ["finished", "3", "2", "25.0", "%"]
    assert shown["synthetic-stopped"][0] == "stopped" and shown["synthetic-cut"][0] == "damaged"
    assert "5 bytes of 7" in " ".join(shown["synthetic-cut:"])
    with working_in(stopped, instead="x"):
        assert main(["runs", "--runs-dir", str(folder), "--json"]) == 0
    states = {run["name"]: run for run in json.loads(capsys.readouterr().out)}
    assert states["synthetic-stopped"]["state"] == "running"
    assert states["synthetic-stopped"]["because"].startswith("process ")
    size = sum(path.stat().st_size for path in stopped.rglob("*") if path.is_file())
    assert abs(states["synthetic-stopped"]["bytes"] - size) < 400, "less who held it"


def test_a_check_reads_everything(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(folder / "synthetic-finished")
    assert main(["runs", "check", str(run.path)]) == 0
    assert capsys.readouterr().out == f"{run.path}: intact; checkpoints: 2\n"
    (run.checkpoints / "checkpoint-2" / "model.safetensors").write_text("WEIGHTS")
    run.metrics.write_text(run.metrics.read_text().replace('"step": 2', '"st', 1))
    assert main(["runs", "check", str(run.path)]) == 2
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [
        f"{run.metrics}: line 2 is not a JSON object: restore the file from a copy, or remove that line if you can do "
        "without its record",
        f"{run.checkpoints}/checkpoint-2/model.safetensors is damaged: its content is not what was written (SHA-256)",
    ]
    assert shown.err == f"r2vpo: error: {run.path}: damaged in 2 places, see above\n"


def test_a_run_without_its_recipe_is_damaged(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "synthetic-stopped" / "config.yaml").unlink()
    (folder / "notes").mkdir()
    assert main(["runs", "--runs-dir", str(folder)]) == 0
    shown = capsys.readouterr().out
    assert "synthetic-stopped damaged" in " ".join(shown.split()) and "config.yaml" in shown
    assert "notes" not in shown


def test_a_check_waits_for_nobody(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = folder / "synthetic-finished"
    with working_in(run, instead="x"):
        assert main(["runs", "check", str(run)]) == 2
    assert "works here: check it when that is done" in capsys.readouterr().err


def test_a_check_misses_records(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = RunDirectory(folder / "synthetic-stopped")
    run.metrics.write_bytes(b"".join(run.metrics.read_bytes().splitlines(keepends=True)[1:]))
    assert main(["runs", "check", str(run.path)]) == 2
    assert f"{run.metrics}: step 1 is missing, the file was cut off" in capsys.readouterr().out
    run.evaluations.write_text("[" * 200_000 + "\n{}\n")
    assert main(["runs", "check", str(run.path)]) == 2
    assert f"{run.evaluations}: line 1 is not a JSON object" in capsys.readouterr().out
    lines = RunDirectory(folder / "synthetic-finished").metrics.read_bytes().splitlines(keepends=True)
    RunDirectory(folder / "synthetic-finished").metrics.write_bytes(b"".join([*lines, *lines]))
    assert main(["runs", "check", str(folder / "synthetic-finished")]) == 2
    assert "line 4 is of step 1, after step 3: restore the file" in capsys.readouterr().out
    run.evaluations.unlink()
    os.mkfifo(run.evaluations)
    assert main(["runs", "--runs-dir", str(folder)]) == 0, "a pipe is not waited for"
    assert "synthetic-stopped damaged" in " ".join(capsys.readouterr().out.split())
    with pytest.raises(UserError, match="this is not a regular file"):
        run.read_evaluations()


def test_what_it_cannot_look_at_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such folder" in failure(capsys, 2, "runs", "--runs-dir", str(folder / "none"))
    assert "did you mean" in failure(capsys, 2, "runs", "check", str(folder / "synthetic-finishd"))
    assert "or `check RUN`" in failure(capsys, 2, "runs", "list")
    (folder / "empty").mkdir()
    assert main(["runs", "--runs-dir", str(folder / "empty")]) == 0 and "no runs" in capsys.readouterr().out
    assert "add --resume RUN" in failure(capsys, 2, "train", "habit", "--checkpoint", "3")
