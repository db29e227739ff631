"""Recognise exceptions caused by a disk that cannot be written, whatever library raised them."""

import errno
import re
from collections.abc import Iterator
from typing import NamedTuple


class DiskFailure(NamedTuple):
    """Reason why writing failed.

    Attributes:
        path: The file or folder; empty if unknown.
        what: What is wrong.
        remedy: What to do before continuing.
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
_NUMPY = re.compile(r"\d+ requested and \d+ written")


class DiskError(OSError):
    """A disk failure of a known place.

    Args:
        failure: the place and the reason.
    """

    def __init__(self, failure: DiskFailure) -> None:
        super().__init__(failure.what)
        self.failure = failure


def disk_failure(error: BaseException) -> DiskFailure | None:
    """Return the disk failure that caused an exception; None if it has another cause.

    Writers in other languages do not raise OSError: safetensors puts the system's text and number into its own error,
    and those of torch and numpy give no reason (what torch wrote is already deleted, and its space is free again).

    Args:
        error: The exception.
    """
    for cause in causes(error):
        if isinstance(cause, DiskError):
            return cause.failure
        if isinstance(cause, OSError) and cause.errno in _BY_NUMBER:
            # The second file of a copy is the one that is written.
            return DiskFailure(str(cause.filename2 or cause.filename or ""), *_BY_NUMBER[cause.errno])
        # A message of this package or of pydantic may quote anything that a user wrote.
        text = "" if isinstance(cause, ValueError) else str(cause)
        found = re.search(r"\bos error (\d+)\)", text)
        if found and int(found[1]) in _BY_NUMBER:
            return DiskFailure("", *_BY_NUMBER[int(found[1])])
        if "No space left on device" in text:
            return DiskFailure("", *_BY_NUMBER[errno.ENOSPC])
        torch = isinstance(cause, RuntimeError) and any(word in text for word in _TORCH)
        if torch or (isinstance(cause, OSError) and _NUMPY.fullmatch(text)):
            return DiskFailure("", "the disk is full, or it fails", "make room")
    return None


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an exception and its chain of causes and contexts."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
