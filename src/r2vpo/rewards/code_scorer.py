"""What a worker of the reward `code` runs: it keeps a sandbox, sends it programs, and replaces it."""

from __future__ import annotations

import json
import os
from typing import Any

from r2vpo.rewards.guest.answer import OUT_OF_MEMORY
from r2vpo.rewards.sandbox import Report, Sandbox, Settings, Unusable, memory_file
from r2vpo.rewards.worker import NoScore

_sandboxes: dict[Settings, Sandbox] = {}


def score_program(programs: list[str], tests: list[Any], partial: bool, seconds: float, settings: list[Any]) -> float:
    """Run a program against its tests, each in processes of its own.

    Args:
        programs: the program, and what to run where it does not compile.
        tests: from `read_tests`.
        partial: whether the fraction of the tests counts; otherwise the first that fails ends it.
        seconds: limit for the CPU time of all of them together.
        settings: of the sandbox.

    Returns:
        The fraction of the tests that the program passes, or 1 or 0.

    Raises:
        NoScore: no test is passed, and time, memory or a test that is wrong itself is the reason.
    """
    scripts, calls, setup = tests
    isolation, memory_bytes, modules = settings
    run = _Run(Settings(isolation, memory_bytes, tuple(modules)), {"setup": setup, "programs": programs}, seconds)
    passed, total = 0, len(scripts) + len(calls)
    for kind, test in [("script", pair) for pair in scripts] + [("test", call) for call in calls]:
        fine = run.script(*test) if kind == "script" else run.test(test)
        passed += fine
        if run.left <= 0 or not (fine or partial):
            break
    if run.reason is not None and not (partial and passed):
        raise NoScore(run.reason, run.detail)
    return passed / total if partial else float(passed == total)


class _Run:
    """A program with what is left of its time, and why a test of it had no result."""

    def __init__(self, settings: Settings, job: dict[str, Any], seconds: float) -> None:
        self.settings, self.left, self.limit = settings, seconds, seconds
        self.reason: str | None = None
        self.detail = ""
        self._job = json.dumps(job).encode()

    def script(self, source: str, wanted: str) -> bool:
        """Whether the program turns an input into an output; lines are compared word by word."""
        report, said = self._request("script", source.encode())
        if report.status == OUT_OF_MEMORY:
            self.reason, self.detail = "memory", "it ran out of memory"
        return report.status == 0 and not report.late and _words(said.decode(errors="replace")) == _words(wanted)

    def test(self, call: dict[str, str]) -> bool:
        """Whether a test runs to its end."""
        report, said = self._request("test", json.dumps(call).encode())
        if report.late or report.status != 0:
            return False
        verdict = json.loads(said)
        if verdict["raised"] == "MemoryError":
            self.reason, self.detail = "memory", "it ran out of memory"
        elif verdict["fault"]:
            self.reason, self.detail = "test", verdict["fault"]
        return bool(verdict["passed"])

    def _request(self, mode: Any, content: bytes) -> tuple[Report, bytes]:
        files = [memory_file(self._job), memory_file(content), memory_file()]
        try:
            report = _request(self.settings, mode, files, self.left)
            said = os.pread(files[2], os.fstat(files[2]).st_size, 0)
        finally:
            for number in files:
                os.close(number)
        self.left -= report.seconds
        if report.late:
            self.left, self.reason, self.detail = 0.0, "time", f"more than {self.limit:g} s"
        return report, said


def _request(settings: Settings, mode: Any, files: list[int], seconds: float) -> Report:
    for last in (False, True):  # somebody may have ended the sandbox while it waited
        sandbox = _sandboxes.get(settings) or _sandboxes.setdefault(settings, Sandbox(settings))
        try:
            report = sandbox.run(mode, files, seconds)
        except Unusable:
            _sandboxes.pop(settings).close()
            if last:
                raise
            continue
        if report.used:  # what one program leaves behind, the next must not find
            _sandboxes.pop(settings).close()
        return report
    raise AssertionError


def _words(text: str) -> list[list[str]]:
    return [line.split() for line in text.strip().splitlines()]
