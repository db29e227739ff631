"""`r2vpo watch` as a command: the line that it prints, and what it refuses."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from r2vpo.config.run_directory import RunDirectory
from tests.unit.cli.helpers import failure
from tests.unit.report.synthetic_run import make_run


def start(run: RunDirectory, *more: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "r2vpo.cli.main", "watch", str(run.path), "--port", "0", *more],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_serves_until_it_is_stopped_quietly(number: signal.Signals, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=4)
    process = start(run)
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line.startswith(f"{run.path} is shown at http://127.0.0.1:")
    with urllib.request.urlopen(line.split(" is shown at ")[1].split()[0], timeout=120) as answer:
        assert run.path.name in answer.read().decode()
    process.send_signal(number)
    assert process.communicate(timeout=20) == ("", "")
    assert process.returncode == 0


def test_it_says_what_others_can_read_and_answers_under_the_machines_name(tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=4)
    process = start(run, "--host", "0.0.0.0")
    assert process.stdout is not None
    line, warning = process.stdout.readline(), process.stdout.readline()
    url = line.split(" is shown at ")[1].split()[0]
    port = url.rstrip("/").rpartition(":")[2]
    assert url == f"http://{socket.gethostname()}:{port}/"
    assert warning.startswith(
        f"warning: everyone who can reach this machine on port {port} can read this run's prompts"
    )
    named = urllib.request.Request(f"http://127.0.0.1:{port}/", headers={"Host": f"{socket.gethostname()}:{port}"})
    with urllib.request.urlopen(named, timeout=120) as answer:
        assert run.path.name in answer.read().decode()
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=20) == ("", "")


def test_what_it_refuses_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such run" in failure(capsys, 2, "watch", str(tmp_path / "none"))
    assert "is not a whole number from 0 to 65535" in failure(capsys, 2, "watch", str(tmp_path), "--port", "70000")
    run = make_run(tmp_path, steps=4)
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        line = failure(capsys, 2, "watch", str(run.path), "--port", port)
    assert f"cannot listen on 127.0.0.1, port {port}: Address already in use" in line and "--port" in line
