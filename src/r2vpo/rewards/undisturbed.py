"""Keep the process-wide settings of a user's function or module from reaching training."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

_CHARACTERS = 500


@contextmanager
def undisturbed() -> Iterator[None]:
    """Restore torch's gradient mode, default type and device and autocast, the current folder and the output streams.

    Rewards that run their own model often begin with `torch.set_grad_enabled(False)`.

    Raises:
        RuntimeError: standard output or standard error was closed, which cannot be undone.
    """
    import torch  # not at the top: `r2vpo rewards check` reads its input first

    folder, dtype, device = os.getcwd(), torch.get_default_dtype(), torch.get_default_device()
    streams = sys.stdout, sys.stderr
    kinds = ("cpu", "cuda")
    casting = [(kind, torch.is_autocast_enabled(kind), torch.get_autocast_dtype(kind)) for kind in kinds]
    try:
        with torch.set_grad_enabled(torch.is_grad_enabled()):
            yield
    finally:
        os.chdir(folder)
        sys.stdout, sys.stderr = streams
        torch.set_default_dtype(dtype)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)
        for kind, enabled, of in casting:
            torch.set_autocast_enabled(kind, enabled)
            torch.set_autocast_dtype(kind, of)
    for name, stream in zip(("standard output", "standard error"), streams, strict=True):
        if stream is not None and stream.closed:
            raise RuntimeError(f"it closed {name}, which the whole process writes to")


def told(error: BaseException) -> str:
    """Return the text of what a user's function raised, in one line, whatever its class does.

    Args:
        error: the exception.
    """
    try:
        return " ".join(str(error).split())[:_CHARACTERS] or "no message"
    except KeyboardInterrupt:
        raise
    except BaseException:  # its text cannot be produced
        return "without a text"
