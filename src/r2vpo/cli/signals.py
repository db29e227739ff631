"""What Ctrl-C and SIGTERM do: the first ends the command like an exception and is acknowledged at once.

Another one soon after it changes nothing; a later one ends the process at once, as does the first one before any work.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

SECONDS_OF_ONE = 1.0
"""A signal that soon after the first belongs to it: a key pressed twice, or a launcher that passes Ctrl-C on."""

SECONDS_OF_AN_IMPORT = 10.0
"""A signal waits that long for an import to end. An exception inside one may abort the process: torch imports Python
modules from C++ code that expects none, and a module that is imported half stays so."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as when a scheduler ends the process."""


class EndBySignals:
    """Lets Ctrl-C and SIGTERM end this process from now on; forked children end as by default.

    The first signal raises `KeyboardInterrupt` or `Terminated` in the main thread, while a command runs and imports
    nothing. A signal that this process was started to ignore, as by nohup, stays ignored.

    Args:
        report: says that the command was stopped, and returns its exit code; called when the process ends at once.
        at_once: whether the first signal already ends the process at once.
    """

    def __init__(
        self, report: Callable[[KeyboardInterrupt], int], *, at_once: Callable[[], bool] = lambda: False
    ) -> None:
        self._report, self._at_once = report, at_once
        self._process = os.getpid()
        self._first: float | None = None
        self._repeated = False
        self._code: int | None = None
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                signal.signal(number, self._handle)

    def ended(self, code: int) -> None:
        """The command has ended: a signal now ends the process with the command's exit code."""
        self._code = code

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if os.getpid() != self._process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if self._code is not None:
            os._exit(self._code)
        error = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        now = time.monotonic()
        repeated, self._repeated = self._repeated, False
        if self._first is None:
            self._first = now
            if self._at_once():
                os._exit(self._report(error))
        elif not repeated:
            if now - self._first > SECONDS_OF_ONE:
                os._exit(self._report(error))
            return
        if not _imports(frame) or now - self._first > SECONDS_OF_AN_IMPORT:
            raise error
        timer = threading.Timer(0.02, self._repeat, (number,))
        timer.daemon = True
        timer.start()

    def _repeat(self, number: int) -> None:
        self._repeated = True
        os.kill(self._process, number)


def _imports(frame: FrameType | None) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextmanager
def acknowledged(acknowledge: Callable[[], None]) -> Iterator[None]:
    """Call a function as soon as Ctrl-C or SIGTERM arrives, even while the main thread is in a long call of a library.

    Python runs signal handlers between two instructions of the main thread, and a backward pass is a single one. The
    interpreter writes the signal's number into a socket at once, which another thread reads.

    Args:
        acknowledge: called once, in that thread.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    reader, writer = socket.socketpair()
    writer.setblocking(False)

    def read() -> None:
        called = False
        while numbers := reader.recv(64):
            if not called and {signal.SIGINT, signal.SIGTERM} & set(numbers):
                called = True
                acknowledge()

    thread = threading.Thread(target=read, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
    _own_processes_signals(writer)
    try:
        yield
    finally:
        signal.set_wakeup_fd(before)
        writer.close()
        thread.join()
        reader.close()


def _own_processes_signals(writer: socket.socket) -> None:
    """Keep a forked child's signals out of the socket, which it shares with this process."""

    def in_child() -> None:
        if writer.fileno() >= 0:
            signal.set_wakeup_fd(-1)

    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(after_in_child=in_child)
