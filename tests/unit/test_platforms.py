"""The package can be imported where Linux' modules are missing, and what needs Linux says so when it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from r2vpo.cli import doctor
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.pool import ScoringPool

FRAMEWORKS = ("deepspeed", "omegaconf", "openrlhf", "ray", "tensordict", "transfer_queue", "verl")
WITHOUT = """
import builtins, importlib, pkgutil, sys, types
from pathlib import Path

MODULES = {"curses", "fcntl", "grp", "posix", "pty", "pwd", "readline", "resource", "syslog", "termios", "tty"}
NAMES = {
    "os": {
        "MFD_ALLOW_SEALING", "MFD_CLOEXEC", "O_DIRECTORY", "O_NOFOLLOW", "WNOHANG", "fchmod", "fork", "getgid",
        "getloadavg", "getpgid", "getuid", "geteuid", "killpg", "memfd_create", "mkfifo", "pread", "pwrite",
        "register_at_fork", "sched_getaffinity", "setsid", "statvfs", "sysconf", "uname",
    },
    "signal": {
        "ITIMER_PROF", "ITIMER_REAL", "ITIMER_VIRTUAL", "SIGALRM", "SIGCHLD", "SIGHUP", "SIGKILL", "SIGPIPE", "SIGTSTP",
        "SIGUSR1", "SIGWINCH", "SIGXCPU", "alarm", "getitimer", "pthread_sigmask", "setitimer",
    },
    "socket": {"AF_UNIX", "SOCK_SEQPACKET", "recv_fds", "send_fds"},
}
IMPORT = builtins.__import__


def as_there(name, globals=None, locals=None, fromlist=(), level=0):
    ours = level == 0 and str((globals or {}).get("__name__")).split(".")[0] == "r2vpo"
    if ours and name.split(".")[0] in MODULES:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = IMPORT(name, globals, locals, fromlist, level)
    if not ours or name not in NAMES:
        return module
    stripped = types.ModuleType(name)
    stripped.__dict__.update({key: value for key, value in vars(module).items() if key not in NAMES[name]})
    return stripped


builtins.__import__ = as_there
import r2vpo
"""
IMPORT_ALL = """
imported = 0
for module in pkgutil.walk_packages(r2vpo.__path__, "r2vpo."):
    # What runs in the sandbox runs nowhere but on Linux.
    if module.name.startswith(("r2vpo.sandbox.inside.", "r2vpo.sandbox.attempts")):
        continue
    try:
        importlib.import_module(module.name)
    except ModuleNotFoundError as error:
        if error.name.split(".")[0] not in sys.argv[1:]:
            raise
    imported += 1
print(imported)
"""
USE = """
from r2vpo.cli.machine import devices_by_system, devices_by_torch
from r2vpo.cli.main import main
from r2vpo.config.records import append_record, read_records
from r2vpo.rewards import load_reward

path = Path(sys.argv[1]) / "records.jsonl"
append_record(path, {"a": 1})
with path.open("ab") as file:
    file.write(b"cut off")
append_record(path, {"b": 2})
assert read_records(path) == [{"a": 1}, {"b": 2}]
assert load_reward({"name": "exact"})(prompts=["?"], completions=["4"], answer=["4"]) == [1.0]
for lines in (devices_by_system(), devices_by_torch()):
    assert "of memory" not in lines[0] and "cores" in lines[0]
assert main(["recipes"]) == 0
"""


def run(script: str, *arguments: str) -> str:
    done = subprocess.run([sys.executable, "-c", WITHOUT + script, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_module_can_be_imported_there() -> None:
    assert int(run(IMPORT_ALL, *FRAMEWORKS)) > 200


def test_the_import_of_a_hidden_module_is_noticed() -> None:
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT + "import r2vpo.sandbox.inside.confine"], capture_output=True, text=True
    )
    assert "No module named 'resource'" in done.stderr


def test_records_rewards_and_commands_work_there(tmp_path: Path) -> None:
    assert "quickstart" in run(USE, str(tmp_path))


@pytest.mark.parametrize("platform", ["darwin", "win32"])
def test_the_code_reward_needs_linux(monkeypatch: pytest.MonkeyPatch, platform: str) -> None:
    monkeypatch.setattr(sys, "platform", platform)
    with pytest.raises(UserError, match=f"sandbox that needs Linux, and this is {platform}: use another"):
        load_reward({"name": "code"})
    assert doctor.sandbox() == f"the sandbox needs Linux, and this is {platform}"


def test_windows_has_no_scoring_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    with pytest.raises(UserError, match="needs Linux or macOS"):
        ScoringPool("math:sqrt")
