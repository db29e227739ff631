"""Keep the process-wide settings of a user's function or module from reaching training."""

from __future__ import annotations

import os
import reprlib
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from r2vpo.rewards.process_state import kept_errors, kept_signals, kept_torch

_CHARACTERS = 500


@contextmanager
def undisturbed() -> Iterator[None]:
    """Put back the current folder, the output streams and what `process_state` names; end a fork of the process.

    Rewards that run their own model often begin with `torch.set_grad_enabled(False)`.

    Raises:
        RuntimeError: standard output or standard error was closed, which cannot be undone.
    """
    folder, streams, process = os.getcwd(), (sys.stdout, sys.stderr), os.getpid()
    try:
        with kept_signals(), kept_errors(), kept_torch():
            try:
                yield
            finally:
                if os.getpid() != process:
                    os._exit(1)  # two processes would train in one folder
    finally:
        os.chdir(folder)
        sys.stdout, sys.stderr = streams
    for name, stream in zip(("standard output", "standard error"), streams, strict=True):
        if stream is not None and stream.closed:
            raise RuntimeError(f"it closed {name}, which the whole process writes to")


def told(error: BaseException) -> str:
    """Return the text of what a user's function raised, in one line, whatever its class does."""
    return _text(lambda: " ".join(str(error).split())[:_CHARACTERS] or "no message", "without a text")


def shown(value: Any) -> str:
    """What a user's function returned, cut off where it is long, whatever its class does."""
    return _text(lambda: reprlib.repr(value), f"a {type(value).__name__}")


def _text(make: Callable[[], str], otherwise: str) -> str:
    try:
        return make()
    except KeyboardInterrupt:
        raise
    except BaseException:  # its own text cannot be made
        return otherwise
