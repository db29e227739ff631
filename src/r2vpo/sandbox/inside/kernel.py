"""System calls for which Python has no function."""

from __future__ import annotations

import ctypes
import os
from typing import Any

LIBC = ctypes.CDLL(None, use_errno=True)


def syscall(what: str, number: int, *arguments: Any) -> int:
    """Make a system call by its number.

    Raises:
        OSError: the kernel refuses it.
    """
    given = [ctypes.c_long(value) if isinstance(value, int) else value for value in arguments]
    return checked(what, LIBC.syscall(ctypes.c_long(number), *given))


def prctl(option: int, value: int, pointer: bytes | None = None) -> None:
    """Call `prctl`.

    Raises:
        OSError: the kernel refuses it.
    """
    zero = ctypes.c_ulong(0)
    checked(f"prctl {option}", LIBC.prctl(option, ctypes.c_ulong(value), pointer, zero, zero))


def checked(what: str, result: int) -> int:
    """Return a result that is not an error.

    Raises:
        OSError: the result is -1.
    """
    if result == -1:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
    return result
