"""Failures: a full disk, an interrupt, a closed pipe, what nobody expected: one line, and how to resume."""

import errno
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import r2vpo.cli.listings
import r2vpo.cli.train
from r2vpo.cli.failures import Session, called_as, report_failure
from r2vpo.cli.main import main
from r2vpo.config import records
from r2vpo.config.run_directory import RunDirectory
from r2vpo.disk import disk_failure
from tests.unit.cli.helpers import failure
from tests.unit.report.synthetic_run import make_run


def test_a_command_that_leaves_is_no_success(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(r2vpo.cli.listings, "recipes", lambda *_: sys.exit(0))
    assert main(["recipes"]) == 1
    assert capsys.readouterr().err.startswith("r2vpo: error: unexpected SystemExit: 0")
    with pytest.raises(SystemExit):
        main(["--version"])


def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    made = make_run(tmp_path, steps=8)
    made.report.write_text("the old report")

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(records.os, "fsync", full)
    line = failure(capsys, 2, "report", str(made.path))
    assert f"{made.report}: the disk is full; nothing that was saved is lost" in line
    assert made.report.read_text() == "the old report"


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),
        RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)"),
    ],
)
def test_a_full_disk_says_how_to_go_on(error: Exception, run: RunDirectory, capsys: pytest.CaptureFixture[str]) -> None:
    session = Session()
    session.arguments = ["my recipe.yaml", "--set", "seed=1"]
    session.started(run.path)
    wrapped = RuntimeError("saving failed")
    wrapped.__cause__ = error
    for raised in (error, wrapped):
        assert report_failure(raised, session) == 2
        line = capsys.readouterr().err
        assert f"{run.path}: the disk is full; nothing that was saved is lost" in line
        assert line.endswith(f"resume with: r2vpo train 'my recipe.yaml' --set seed=1 --resume {run.path}\n")


@pytest.mark.parametrize("words", [". PytorchStreamWriter failed writing file data/1", ". unexpected pos 5120 vs 5012"])
def test_a_failed_torch_writer_says_how_to_go_on_and_claims_no_more_than_it_knows(
    words: str, run: RunDirectory, capsys: pytest.CaptureFixture[str]
) -> None:
    error = RuntimeError(f"[enforce fail at inline_container.cc:672] {words}")
    session = Session()
    session.arguments = ["mine.yaml"]
    session.started(run.path)
    assert disk_failure(error) is not None
    assert report_failure(error, session) == 2
    line = capsys.readouterr().err
    assert f"{run.path}: the disk is full, or it fails; nothing that was saved is lost" in line
    assert line.endswith(f"resume with: r2vpo train mine.yaml --resume {run.path}\n")


def test_other_errors_are_no_full_disk() -> None:
    assert disk_failure(ValueError("something else")) is None
    assert disk_failure(RuntimeError("shapes do not match")) is None


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (OSError(errno.EDQUOT, "x"), "the disk quota is used up"),
        (RuntimeError("I/O error: File too large (os error 27)"), "larger than this process may write"),
        (OSError(errno.EROFS, "x"), "the disk can only be read"),
        (OSError(errno.EIO, "x"), "the disk fails"),
    ],
)
def test_other_disks_that_cannot_be_written(error: Exception, said: str) -> None:
    failed = disk_failure(error)
    assert failed is not None and said in failed.what


def test_an_interrupt_says_how_to_go_on(
    run: RunDirectory, recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(r2vpo.cli.train, "check_resume", interrupt)
    line = failure(capsys, 130, "train", str(recipe), "--set", "seed=0", "--resume", str(run.path))
    assert line.endswith(f"with: r2vpo train {recipe} --set seed=0 --resume {run.path}")
    shutil.rmtree(run.checkpoints / "checkpoint-50")
    line = failure(capsys, 130, "train", str(recipe), "--resume", str(run.path))
    assert line == "r2vpo: interrupted; no checkpoint was written yet"


def test_what_nobody_expected(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise KeyError("a\nb")

    monkeypatch.setattr(r2vpo.cli.train, "load_recipe", fail)
    line = failure(capsys, 1, "train", str(recipe))
    assert "unexpected KeyError" in line and "--debug" in line


def test_too_little_memory_says_what_takes_it(
    recipe: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("the step failed") from MemoryError()

    monkeypatch.setattr(r2vpo.cli.train, "load_recipe", fail)
    assert "out of memory (the step failed): raise trainer.micro_batches" in failure(capsys, 2, "train", str(recipe))


def test_a_message_of_ours_that_quotes_a_full_disk_is_none(capsys: pytest.CaptureFixture[str]) -> None:
    line = failure(capsys, 2, "train", "quickstart", "--set", "name=os error 28")
    assert "disk is full" not in line and "use letters" in line


def test_debug_prints_the_traceback(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", str(recipe), "--debug", "--set", "seed=x"]) == 2
    error = capsys.readouterr().err
    assert "Traceback" in error
    assert error.splitlines()[-1] == "r2vpo: error: --set: seed is the text 'x'; it must be a whole number"


def test_libraries_are_kept_quiet() -> None:
    code = (
        "import os, warnings\n"
        "from r2vpo.cli.main import prepare_environment\n"
        "prepare_environment(debug=False)\n"
        "assert os.environ['HF_HUB_DISABLE_TELEMETRY'] == '1'\n"
        "assert os.environ['TOKENIZERS_PARALLELISM'] == 'false'\n"
        "for name, text in (('trl.trainer', 'theirs'), ('r2vpo.a', 'ours\\nhere')):\n"
        "    exec('warnings.warn(text)', {'__name__': name, 'warnings': warnings, 'text': text})\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "r2vpo: warning: ours here\n"


def test_a_thread_that_fails_leaves_one_line_and_a_full_disk_none() -> None:
    code = (
        "import errno, threading\n"
        "from r2vpo.cli.main import prepare_environment\n"
        "def fail(error):\n    raise error\n"
        "prepare_environment(debug=False)\n"
        "for error in (OSError(errno.ENOSPC, 'No space left on device'), ValueError('odd\\nthing')):\n"
        "    thread = threading.Thread(target=fail, args=(error,), name='writer')\n"
        "    thread.start()\n    thread.join()\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
    assert result.stderr == "r2vpo: warning: writer ended with ValueError: odd thing\n"


def test_the_program_is_named_as_it_was_called(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = tmp_path / "my bin" / "r2vpo"
    script.parent.mkdir()
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    python = ".venv/bin/python"
    assert called_as([python, "-m", "r2vpo", "train", "-m"], ["/x/__main__.py", "train", "-m"]) == f"{python} -m r2vpo"
    whole = [python, str(script), "train"]
    monkeypatch.setenv("PATH", "/usr/bin")
    assert called_as(whole, whole[1:]) == f"'{script}'"
    monkeypatch.setenv("PATH", f"/usr/bin:{script.parent}")
    assert called_as(whole, whole[1:]) == "r2vpo"
    assert called_as([python, "-c", "train"], ["-c", "train"]) == "r2vpo"
