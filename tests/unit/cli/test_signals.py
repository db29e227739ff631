"""Ctrl-C and SIGTERM: acknowledged at once, also while the main thread is in one long call."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from r2vpo.cli.signals import SECONDS_OF_ONE, acknowledged

LONG_CALL = """
import hashlib, time
from r2vpo.cli.signals import EndBySignals, acknowledged

EndBySignals(lambda error: 3)
try:
    with acknowledged(lambda: print("acknowledged", time.monotonic(), flush=True)):
        begun = time.monotonic()
        hashlib.pbkdf2_hmac("sha256", b"", b"", 200_000)
        once = time.monotonic() - begun
        print("called", flush=True)
        hashlib.pbkdf2_hmac("sha256", b"", b"", int(200_000 * 5 / once))
except KeyboardInterrupt:
    print("interrupted", time.monotonic(), flush=True)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_long_call_does_not_delay_the_answer(number: signal.Signals) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", LONG_CALL],
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    assert process.stdout is not None and process.stdout.readline() == "called\n"
    time.sleep(1.0)  # until it is in the long call
    process.send_signal(number)
    out, _ = process.communicate(timeout=60)
    (first, at), (second, later) = (line.split() for line in out.splitlines())
    assert (first, second) == ("acknowledged", "interrupted")
    assert float(later) - float(at) > 1.0, "the call takes about five seconds"


FORKS = """
import os, signal, sys, time
from r2vpo.cli.signals import EndBySignals, acknowledged
EndBySignals(lambda error: 3)
with acknowledged(lambda: print("acknowledged", flush=True)):
    ready, forked = os.pipe()
    child = os.fork()
    if not child:
        os.write(forked, b"x")
        time.sleep(30)
        os._exit(0)
    os.read(ready, 1)
    os.kill(child, int(sys.argv[1]))
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
    time.sleep(0.2)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_signals_of_a_forked_child_are_its_own(number: signal.Signals) -> None:
    done = subprocess.run([sys.executable, "-c", FORKS, str(int(number))], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{int(number)}\n", "")


PROGRAM = """
import sys, time
from r2vpo.cli import listings
from r2vpo.cli.main import program

def work(arguments, session):
    {work}

listings.models = work
sys.argv = ["r2vpo", "models"]
sys.exit(program())
"""
# not print(): a signal that arrives while it writes leaves the text in the buffer, which is then written twice
HANGS = """
    import os
    try:
        os.write(1, b"working\\n")
        time.sleep(60)
    finally:
        print("hanging", flush=True)
        time.sleep(60)
"""


class Program:
    """The program, doing something else than `models`."""

    def __init__(self, work: str, **options: Any) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM.format(work=work)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, options.get("before", signal.SIG_DFL)),
        )

    def said(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def ended(self) -> tuple[int, str, str]:
        out, err = self.process.communicate(timeout=60)
        return self.process.returncode, out, err


@pytest.mark.parametrize(
    ("number", "code", "word"), [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")]
)
def test_a_later_signal_ends_what_hangs(number: signal.Signals, code: int, word: str) -> None:
    one = Program(HANGS)
    assert one.said() == "working"
    one.process.send_signal(number)
    assert one.said() == "hanging"
    one.process.send_signal(number)  # soon after the first: it is the same
    with pytest.raises(subprocess.TimeoutExpired):
        one.process.wait(SECONDS_OF_ONE)
    one.process.send_signal(number)
    assert one.ended() == (code, "", f"r2vpo: {word}\n")


def test_an_import_is_not_interrupted(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(
        "import time\nprint('working', flush=True)\ntime.sleep(1)\nprint('whole', flush=True)"
    )
    one = Program(f"sys.path.insert(0, {str(tmp_path)!r}); import slow; time.sleep(60)")
    assert one.said() == "working"
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == (130, "whole\n", "r2vpo: interrupted\n")


def test_a_signal_before_any_work_ends_at_once_even_in_an_import(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text("import time\nprint('working', flush=True)\ntime.sleep(60)")
    one = Program(f"session.loads = True; sys.path.insert(0, {str(tmp_path)!r}); import slow")
    assert one.said() == "working"
    one.process.send_signal(signal.SIGTERM)
    assert one.ended() == (143, "", "r2vpo: terminated\n")


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    one = Program("print('working', flush=True); time.sleep(1); print('done')", before=signal.SIG_IGN)
    assert one.said() == "working"
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == (0, "done\n", "")


def test_a_signal_at_the_end_leaves_no_traceback() -> None:
    held = "import threading; threading.Thread(target=time.sleep, args=(60,)).start(); print('done', flush=True)"
    one = Program(f"{held}; return 5")
    assert one.said() == "done"
    time.sleep(1.0)  # it waits for its thread
    one.process.send_signal(signal.SIGINT)
    assert one.ended() == (5, "", "")


def test_another_thread_has_no_signals() -> None:
    seen: list[str] = []

    def work() -> None:
        with acknowledged(lambda: seen.append("now")):
            seen.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["worked"]
