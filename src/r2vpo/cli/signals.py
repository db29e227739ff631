"""What Ctrl-C and SIGTERM do: the first ends the command like an exception and is acknowledged at once.

Another one soon after it changes nothing; a later one ends the process at once.
"""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

SECONDS_OF_ONE = 1.0
"""A signal that soon after the first belongs to it: a key pressed twice, or a launcher that passes Ctrl-C on."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, as when a scheduler ends the process."""


def end_by_signals(report: Callable[[KeyboardInterrupt], int]) -> Callable[[int], None]:
    """Let Ctrl-C and SIGTERM end this process from now on; forked children end as by default.

    The first signal raises `KeyboardInterrupt` or `Terminated` in the main thread, while a command runs. A signal that
    this process was started to ignore, as by nohup, stays ignored.

    Args:
        report: says that the command was stopped, and returns its exit code; called when the process ends at once.

    Returns:
        To be called with the command's exit code when it has ended: a signal then ends the process with that code.
    """
    process = os.getpid()
    first: float | None = None
    code: int | None = None

    def handle(number: int, _: object) -> None:
        nonlocal first
        if os.getpid() != process:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        if code is not None:
            os._exit(code)
        error = Terminated() if number == signal.SIGTERM else KeyboardInterrupt()
        now = time.monotonic()
        if first is None:
            first = now
            raise error
        if now - first > SECONDS_OF_ONE:
            os._exit(report(error))

    def ended(with_code: int) -> None:
        nonlocal code
        code = with_code

    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, handle)
    return ended


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
