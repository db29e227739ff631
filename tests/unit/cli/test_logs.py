"""`--log-level` sets what r2vpo and the libraries log; without it the libraries are quiet."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.logs import LEVELS, set_by_default

CODE = """
import logging, os, sys, warnings
from r2vpo.cli.main import prepare_environment
prepare_environment(debug={debug}, log_level={level!r})
from transformers.utils import logging as theirs
import huggingface_hub
found = [name for name in ("debug", "info", "warning", "error") if theirs.get_logger("transformers.x").isEnabledFor(
    getattr(logging, name.upper()))]
print("transformers", found[0])
for name in ("r2vpo.x", "trl.x", "huggingface_hub.x"):
    for level in ("debug", "info", "warning", "error"):
        getattr(logging.getLogger(name), level)(f"{{name}} {{level}}")
exec("warnings.warn('theirs')", {{"__name__": "trl.x", "warnings": warnings}})
"""


def printed(level: str | None, *, debug: bool = False, **environment: str) -> tuple[str, list[str]]:
    quiet = {name: value for name, value in os.environ.items() if name not in set_by_default()}
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(level=level, debug=debug)],
        env=quiet | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[1], done.stderr.splitlines()


def test_by_default_libraries_log_errors_and_r2vpo_warnings() -> None:
    level, lines = printed(None)
    assert level == "error"
    # `huggingface_hub` adds the logger's name by itself.
    assert [line for line in lines if "huggingface" not in line] == ["r2vpo.x warning", "r2vpo.x error", "trl.x error"]


@pytest.mark.parametrize("least", LEVELS)
def test_a_level_holds_for_all(least: str) -> None:
    level, lines = printed(least)
    assert level == least
    shown = LEVELS[LEVELS.index(least) :]
    for name in ("r2vpo.x", "trl.x"):
        expected = [f"{one.upper()} {name}: {name} {one}" for one in shown]
        assert [line for line in lines if line.startswith(tuple(f"{one.upper()} {name}" for one in LEVELS))] == expected
    assert sum("huggingface_hub.x " in line for line in lines) == len(shown)
    assert ("r2vpo: warning: theirs" in lines) == (least != "error")


def test_a_variable_of_the_user_wins_over_the_default_and_not_over_the_option() -> None:
    assert printed(None, TRANSFORMERS_VERBOSITY="info")[0] == "info"
    assert printed("warning", TRANSFORMERS_VERBOSITY="info")[0] == "warning"


def test_debug_leaves_the_libraries_alone() -> None:
    level, lines = printed(None, debug=True)
    assert level == "warning" and "trl.x warning" in lines and "r2vpo: warning: theirs" in lines


@pytest.mark.parametrize("command", [["train", "x"], ["rewards", "check", "x"], ["models"]])
def test_shared_options_precede_the_command_or_follow_it(command: list[str]) -> None:
    def parsed(*arguments: str) -> tuple[str | None, bool]:
        found = build_parser().parse_args(arguments)
        return found.log_level, found.debug

    assert parsed(*command) == (None, False)
    assert parsed("--log-level", "info", "--debug", *command) == ("info", True)
    assert parsed(*command, "--log-level", "info", "--debug") == ("info", True)
    assert parsed("--debug", *command, "--log-level", "info") == ("info", True)
    assert parsed("--log-level", "info", *command, "--log-level", "error") == ("error", False)
