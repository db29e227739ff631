"""What Ctrl-C and SIGTERM do: both end the command like an exception, and are acknowledged at once."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Terminated(KeyboardInterrupt):
    """SIGTERM, as when a scheduler ends the process."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """End as after Ctrl-C when this process gets SIGTERM; children inherit that setting and end as they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def handle(*_: object) -> None:
        if os.getpid() == process:
            raise Terminated
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


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

    os.register_at_fork(after_in_child=in_child)
