"""Whether an exception is about a disk that cannot be written, whatever library raised it."""

import errno
import re
from collections.abc import Iterator
from typing import NamedTuple


class DiskFailure(NamedTuple):
    """Why nothing more could be written.

    Attributes:
        path: The file or folder; empty where it is not known.
        what: What is wrong.
        remedy: What to do before going on.
    """

    path: str
    what: str
    remedy: str


_BY_NUMBER = {
    errno.ENOSPC: ("the disk is full", "make room"),
    errno.EDQUOT: ("the disk quota is used up", "make room"),
    errno.EFBIG: ("a file would be larger than this process may write", "raise the limit (ulimit -f)"),
    errno.EIO: ("the disk fails", "use another one"),
    errno.EROFS: ("the disk can only be read", "make it writable"),
}
_TORCH = ("PytorchStreamWriter", "iostream error", "unexpected pos")


def disk_failure(error: BaseException) -> DiskFailure | None:
    """What kept an exception's writer from writing; None if it is about something else.

    Writers in other languages do not raise OSError: safetensors has the system's words and number in its own error, and
    torch's writer does not say why (what it wrote is gone by now, with its space).

    Args:
        error: What was raised.
    """
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            return DiskFailure(str(cause.filename or ""), *_BY_NUMBER[cause.errno])
        # A message of ours, or of pydantic, may quote anything that a user wrote.
        text = "" if isinstance(cause, ValueError) else str(cause)
        found = re.search(r"\bos error (\d+)\)", text)
        if found and int(found[1]) in _BY_NUMBER:
            return DiskFailure("", *_BY_NUMBER[int(found[1])])
        if "No space left on device" in text:
            return DiskFailure("", *_BY_NUMBER[errno.ENOSPC])
        if isinstance(cause, RuntimeError) and any(word in text for word in _TORCH):
            return DiskFailure("", "the disk is full, or it fails", "make room")
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and what it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
