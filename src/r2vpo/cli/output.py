"""Standard output and error, whose failures name them: a reader may have ended, and a disk may be full."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress

from r2vpo.disk import causes

NAMES = {"stdout": "standard output", "stderr": "standard error"}


class _Named(io.FileIO):
    """A descriptor whose errors have a name, as those of files do."""

    def __init__(self, descriptor: int, name: str) -> None:
        super().__init__(descriptor, "wb", closefd=False)
        self._what = name

    def write(self, data: bytes) -> int:  # type: ignore[override]
        """See `io.FileIO.write`."""
        try:
            return super().write(data)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self._what) from None


def name_outputs() -> None:
    """Let the errors of standard output and error say which of them failed; for the rest of the process."""
    for attribute, name in NAMES.items():
        stream = getattr(sys, attribute)
        buffer = getattr(stream, "buffer", None)
        raw = getattr(buffer, "raw", buffer)
        if not isinstance(stream, io.TextIOWrapper) or not isinstance(raw, io.FileIO):
            continue  # closed by who started us (`>&-`), or a console of Windows
        stream.flush()
        named = _Named(raw.fileno(), name)
        replacement = io.TextIOWrapper(
            named if raw is buffer else io.BufferedWriter(named),  # type: ignore[type-var]
            encoding=stream.encoding,
            errors=stream.errors,
            line_buffering=stream.line_buffering,
            write_through=stream.write_through,
        )
        setattr(sys, attribute, replacement)


def gone(error: BaseException) -> bool:
    """Whether an error is that nobody reads what is written any more, as in ``r2vpo recipes | head -1``.

    Args:
        error: the error, or what was raised because of it, as rich does.
    """
    lost = (errno.EPIPE, errno.EIO)  # a pipe without a reader, a terminal that was closed
    return any(
        isinstance(one, OSError) and one.filename in NAMES.values() and one.errno in lost for one in causes(error)
    )


def drop_unwritable() -> None:
    """Write nowhere what standard output and error do not take, so that the end of the process does not fail."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
