"""Whether an exception is about a full disk, whatever library raised it."""

import errno
from collections.abc import Iterator


def disk_full(error: BaseException) -> str | None:
    """The path that had no room left, empty if it is not known; None if the error is not about a full disk.

    Writers in other languages do not raise OSError: safetensors has the system's words in its own error.
    """
    for cause in causes(error):
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT):
            return str(cause.filename or "")
        # A message of ours, or of pydantic, may quote anything that a user wrote.
        text = "" if isinstance(cause, ValueError) else str(cause)
        if "No space left on device" in text or "os error 28" in text:
            return ""
    return None


def torch_write_failed(error: BaseException) -> bool:
    """Whether torch's file writer failed: it does not say why, and what it wrote is gone by now, with its space."""
    words = ("PytorchStreamWriter", "iostream error", "unexpected pos")
    return any(isinstance(cause, RuntimeError) and any(word in str(cause) for word in words) for cause in causes(error))


def causes(error: BaseException | None) -> Iterator[BaseException]:
    """An exception, and what it was raised from or while handling."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__
