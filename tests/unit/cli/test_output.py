"""Outputs that nobody reads, that are full or closed: the right exit code, at most one line, and never a traceback."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.unit.report.synthetic_run import make_run

COMMANDS = {"models": 0, "--version": 0, "train --help": 0, "schema": 0, "models --nonsense": 2}
"""Commands that print little or much, and their exit codes where all goes well."""
FULL = "r2vpo: error: standard output: the disk is full; nothing that was saved is lost: make room and start again\n"

full = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")


def shell(line: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """A line of a shell in which `r2vpo` is the program."""
    define = f'r2vpo() {{ {sys.executable} -m r2vpo "$@"; }}; '
    buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return subprocess.run(
        ["bash", "-c", f"set -o pipefail; {define}{line}"],
        env=buffered | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_reads(command: str) -> None:
    done = shell(f"r2vpo {command} | true")
    assert done.returncode == (COMMANDS[command] or 1)
    assert done.stderr.count("\n") == bool(COMMANDS[command]) and "Traceback" not in done.stderr


@pytest.mark.parametrize("command", ["models", "schema"])
def test_nobody_reads_what_is_not_buffered(command: str) -> None:
    done = shell(f"r2vpo {command} | true", PYTHONUNBUFFERED="1")
    assert (done.returncode, done.stderr) == (1, "")


@full
@pytest.mark.parametrize("command", COMMANDS)
def test_it_is_full(command: str) -> None:
    done = shell(f"r2vpo {command} > /dev/full")
    assert done.returncode == 2 and done.stderr.count("\n") == 1
    assert COMMANDS[command] or done.stderr == FULL


@full
@pytest.mark.parametrize("command", COMMANDS)
def test_standard_error_is_full_or_closed(command: str) -> None:
    for where in ("/dev/full", "&-"):
        done = shell(f"r2vpo {command} 2>{where}")
        assert (done.returncode, done.stderr) == (COMMANDS[command], "")


@pytest.mark.parametrize("command", ["models", "doctor", "report RUN", "runs --runs-dir RUN/..", "plan quickstart"])
def test_letters_that_the_output_cannot_hold_are_escaped(command: str, tmp_path: Path) -> None:
    run = make_run(tmp_path, steps=4)
    plain = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = shell(f"r2vpo {command.replace('RUN', str(run.path))}", **plain)
    assert (done.returncode, done.stderr) == (0, "") and done.stdout.isascii()
