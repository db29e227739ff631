"""Let Ctrl-C and SIGTERM wait where they would leave something half done."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any


class HeldInterrupts:
    """Keeps the last signal that arrived, until `held_interrupts` ends.

    Args:
        handlers: the handlers that the signals have, by their numbers.
    """

    def __init__(self, handlers: dict[int, Any]) -> None:
        self._handlers = handlers
        self._through = False
        self.kept: int | None = None

    @contextmanager
    def let_through(self) -> Iterator[None]:
        """Let signals interrupt a block, as they would anywhere else; one that was kept does so at once."""
        self._through = True
        try:
            if self.kept is not None:
                number, self.kept = self.kept, None
                self.handle(number, None)
            yield
        finally:
            self._through = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Handle a signal: call its handler if it is let through, else keep it."""
        if not self._through:
            self.kept = number
            return
        try:
            self._handlers[number](number, frame)
        except BaseException:
            self._through = False  # what the exception leads to is not interrupted by another signal
            raise


@contextmanager
def held_interrupts() -> Iterator[HeldInterrupts]:
    """Hold Ctrl-C and SIGTERM back in a block of the main thread; the last of them arrives when the block has ended.

    Other threads receive no signals. A signal that is ignored, or ends the process by default, is left as it is.

    Yields:
        What lets signals through in parts of the block.
    """
    numbers = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    handlers: dict[int, Any] = {number: handler for number in numbers if callable(handler := signal.getsignal(number))}
    held = HeldInterrupts(handlers)
    for number in handlers:
        signal.signal(number, held.handle)
    try:
        yield held
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        if held.kept is not None:
            signal.raise_signal(held.kept)
