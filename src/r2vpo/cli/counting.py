"""One line on the terminal that counts what a long command has done."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

from r2vpo.config.numbers import count


class Counter(Protocol):
    """Takes the number so far."""

    def __call__(self, number: int, /) -> None:
        """Show the number."""


@contextmanager
def counting(words: str) -> Iterator[Counter]:
    """Yield a function that shows a number; it shows nothing where standard error is not a terminal.

    Args:
        words: what follows the number, such as `groups read`.
    """
    shown = sys.stderr.isatty()

    def show(number: int, /) -> None:
        if shown:
            print(f"\r{count(number)} {words}", end="", file=sys.stderr, flush=True)

    try:
        yield show
    finally:
        if shown:
            print("\r\033[K", end="", file=sys.stderr, flush=True)
