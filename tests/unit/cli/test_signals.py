"""Ctrl-C and SIGTERM: acknowledged at once, also while the main thread is in one long call."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from r2vpo.cli.signals import Terminated, acknowledged, ended_by_sigterm

LONG_CALL = """
import hashlib, time
from r2vpo.cli.signals import acknowledged, ended_by_sigterm

try:
    with ended_by_sigterm(), acknowledged(lambda: print("acknowledged", time.monotonic(), flush=True)):
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


def test_only_the_first_of_these_signals_is_acknowledged() -> None:
    seen: list[str] = []
    with pytest.raises(Terminated), ended_by_sigterm(), acknowledged(lambda: seen.append("now")):
        signal.signal(signal.SIGUSR1, lambda *_: None)
        os.kill(os.getpid(), signal.SIGUSR1)
        time.sleep(0.1)
        assert seen == []
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
    signal.signal(signal.SIGUSR1, signal.SIG_DFL)
    assert seen == ["now"]


def test_the_signals_of_a_forked_child_are_its_own() -> None:
    seen: list[str] = []
    with ended_by_sigterm(), acknowledged(lambda: seen.append("now")):
        ready, forked = os.pipe()
        child = os.fork()
        if not child:
            os.write(forked, b"x")
            time.sleep(30)
            os._exit(0)
        os.read(ready, 1)
        os.kill(child, signal.SIGTERM)
        _, status = os.waitpid(child, 0)
        time.sleep(0.2)
    os.close(ready)
    os.close(forked)
    assert os.WTERMSIG(status) == signal.SIGTERM and seen == []


def test_another_thread_has_no_signals() -> None:
    seen: list[str] = []

    def work() -> None:
        with acknowledged(lambda: seen.append("now")):
            seen.append("worked")

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == ["worked"]
