"""The probe: an isolation that does not confine as promised is not used."""

import shutil
from pathlib import Path

import pytest

from r2vpo.sandbox import Settings, command, first_working
from r2vpo.sandbox.probe import probe

LEAKS = {
    "signals by fcntl": ("calls.py", "[[Check(1, (0, 1, 2, 3, 1030))], [Check(1, (4,)), _without(2, _ASYNC)]]"),
    "sockets without a connection": ("calls.py", "Check(1, (1,), mask=0xFFFFFFFF & ~(_CLOEXEC | _NONBLOCK))"),
    "others' limits": ("calls.py", '"prlimit64": [[Check(0, own)]]'),
    "others' priority by a lock": ("calls.py", "_FUTEX_WAITS = (0, 9)"),
    "waking others": ("calls.py", "kind | _FUTEX_PRIVATE for kind in"),
    "locks of files": ("calls.py", "Check(1, (0, 1, 2, 3, 1030))"),
    "owners and modes of files": ("calls.py", "getgroups 115 158,"),
    "more signals that wait": ("confine.py", "WAITING_SIGNALS = 64"),
}
INSTEAD = (
    *("[[]]", "Check(0, (1,))", '"prlimit64": [[]]', "_FUTEX_WAITS = (0, 6, 9)", "kind for kind in"),
    *("Check(1, (0, 1, 2, 3, 6, 1030))", "getgroups 115 158, fchmod 91 52,", "WAITING_SIGNALS = 65"),
)


@pytest.mark.parametrize(("name", "instead"), zip(LEAKS, INSTEAD, strict=True))
def test_a_sandbox_with_a_leak_is_found_out(name, instead, tmp_path, monkeypatch):
    inside = tmp_path / "inside"
    shutil.copytree(Path(command.__file__).parent / "inside", inside)
    file, text = LEAKS[name]
    source = (inside / file).read_text()
    assert source.count(text) == 1
    (inside / file).write_text(source.replace(text, instead))
    monkeypatch.setattr(command, "_INSIDE", inside)
    found = first_working(["process"], memory_bytes=1 << 29)
    assert found.settings is None and found.isolation is None
    assert len(found.failed) == 1 and "it allows a program" in found.failed[0] and name in found.failed[0]


def test_what_is_not_kept_is_said():
    assert probe(Settings("process", 1 << 29)) == ("seeing",)
    found = first_working(["process"], memory_bytes=1 << 29)
    assert found.isolation == "process" and found.gaps == (() if found.settings.own_root else ("seeing",))


def test_modules_that_are_missing_are_named():
    found = first_working(["process"], memory_bytes=1 << 29, modules=["no_such_module"])
    assert found.settings is None and "No module named 'no_such_module'" in found.failed[0]
