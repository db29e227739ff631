"""The code that a worker of the reward `code` runs: it keeps a sandbox, sends it programs, and replaces it."""

from __future__ import annotations

import json
import os
import time
from itertools import zip_longest
from typing import Any

from r2vpo.rewards.code_text import programs
from r2vpo.rewards.worker import NoScore
from r2vpo.sandbox import OUT_OF_MEMORY, Report, Sandbox, Settings, Unusable, memory_file

NO_SANDBOX = "sandbox"
"""The reason for an item that was never run because no sandbox starts; no program can cause it."""
_STARTS, _PAUSE_SECONDS = 3, 1.0
_VERDICT_BYTES = 1 << 16
_SPARE_BYTES = 1 << 16

_sandboxes: dict[Settings, Sandbox] = {}


def score_program(
    text: str, task: list[Any], tests: list[Any], partial: bool, seconds: float, settings: list[Any]
) -> float:
    """Run a completion's program against its tests, each in its own processes.

    Args:
        text: the completion.
        task: `Task`, what the completion has to write.
        tests: `Tests`, from `read_tests`.
        partial: whether the fraction of the tests counts; otherwise the first failed test ends the run.
        seconds: limit for the CPU time of all tests together, and for the elapsed time of one that sleeps.
        settings: `Settings` of the sandbox.

    Returns:
        The fraction of the tests that the program passes, or 1 or 0.

    Raises:
        NoScore: no test passed because of time, memory or a test that is itself faulty; or no sandbox starts.
    """
    scripts, calls, setup = tests
    isolation, memory_bytes, modules, own_root = settings
    job = {"setup": setup, "programs": programs(text, *task)}
    run = _Run(Settings(isolation, memory_bytes, tuple(modules), own_root), job, seconds)
    passed, total = 0, len(scripts) + len(calls)
    for kind, test in [("script", pair) for pair in scripts] + [("test", call) for call in calls]:
        fine = run.script(*test) if kind == "script" else run.test(test)
        passed += fine
        if run.over or not (fine or partial):
            break
    if run.reason is not None and not (partial and passed):
        raise NoScore(run.reason, run.detail)
    return passed / total if partial else float(passed == total)


class _Run:
    """A program, the time that its tests have taken, and why one of them had no result."""

    def __init__(self, settings: Settings, job: dict[str, Any], seconds: float) -> None:
        self.settings, self.limit, self.over = settings, seconds, False
        self.spent = self.elapsed = 0.0
        self.reason: str | None = None
        self.detail = ""
        self._job = json.dumps(job).encode()

    def script(self, source: str, wanted: str) -> bool:
        """Whether the program turns an input into the expected output; lines are compared word by word."""
        # Half of a surrogate pair is not valid UTF-8, but a test may contain one.
        expected = wanted.encode("utf-8", "surrogatepass")
        # Longer output is wrong and is not read: only white space may differ.
        most = 2 * len(expected) + _SPARE_BYTES
        report, said = self._request("script", source.encode("utf-8", "surrogatepass"), most + 1)
        if report is None or report.late:
            return False
        if report.status == OUT_OF_MEMORY:
            self.reason, self.detail = "memory", "it ran out of memory"
        return report.status == 0 and len(said) <= most and _same_words(said, expected)

    def test(self, call: dict[str, str]) -> bool:
        """Whether a test runs to its end."""
        report, said = self._request("test", json.dumps(call).encode(), _VERDICT_BYTES)
        if report is None or report.late or report.status != 0:
            return False
        try:
            verdict = json.loads(said)
        except ValueError:
            verdict = {"passed": False, "raised": None, "fault": "it ends its own process"}
        if verdict["raised"] == "MemoryError":
            self.reason, self.detail = "memory", "it ran out of memory"
        elif verdict["fault"]:
            self.reason, self.detail = "test", verdict["fault"]
        return bool(verdict["passed"])

    def _request(self, mode: Any, content: bytes, most: int) -> tuple[Report | None, bytes]:
        files = [memory_file(self._job), memory_file(content), memory_file()]
        try:
            report = self._reported(mode, files)
            said = os.pread(files[2], most, 0)
        finally:
            for number in files:
                os.close(number)
        if report is None:
            self.over, self.reason, self.detail = True, "crash", "its sandbox ended, and so did another one"
            return None, b""
        self.spent, self.elapsed = report.spent, report.elapsed
        if report.late:
            self.over, self.reason, self.detail = True, "time", f"more than {self.limit:g} s"
        return report, said

    def _reported(self, mode: Any, files: list[int]) -> Report | None:
        """Return the report, or None if the sandbox ended twice while running the program."""
        settings = self.settings
        for _ in range(2):  # the sandbox may have been ended from outside while it waited
            sandbox = _sandboxes.get(settings) or _sandboxes.setdefault(settings, _started(settings))
            try:
                report = sandbox.run(mode, files, self.limit, spent=self.spent, elapsed=self.elapsed)
            except Unusable:
                _sandboxes.pop(settings).close()
                os.ftruncate(files[2], 0)  # discard the output so far
                os.lseek(files[2], 0, os.SEEK_SET)
                continue
            if report.used:  # the next program must not find what this one left behind
                _sandboxes.pop(settings).close()
            return report
        return None


def _started(settings: Settings) -> Sandbox:
    for left in reversed(range(_STARTS)):
        try:
            return Sandbox(settings)
        except Unusable as error:
            if not left:
                raise NoScore(NO_SANDBOX, str(error)) from None
            time.sleep(_PAUSE_SECONDS)
    raise AssertionError


def _same_words(said: bytes, expected: bytes) -> bool:
    lines = [data.decode("utf-8", "surrogateescape").strip().splitlines() for data in (said, expected)]
    return all(one.split() == other.split() for one, other in zip_longest(*lines, fillvalue=""))
