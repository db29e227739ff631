"""Rules of Landlock, a kernel feature: which files a program can reach, and no signals to processes outside."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from .kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ, _READ_FOLDER = 0b101, 0b1000  # execute and read a file; read a folder
_FILE_RIGHTS = 0b111 | 1 << 14 | 1 << 15  # among the rights, those that apply to a file that is not a folder


def rules(readable: Sequence[str], writable: Sequence[str]) -> int | None:
    """Make rules under which a process reaches what is below certain paths, and no other file.

    If the kernel supports it (Linux 6.7 and 6.12), they also prevent TCP, signals to processes outside, and the use of
    abstract sockets that were created outside.

    Args:
        readable: files and folders that can be read; those that do not exist are skipped.
        writable: files and folders in which everything is allowed.

    Returns:
        A file descriptor for `restrict`, or None if the kernel has no Landlock (before 5.13).

    Raises:
        OSError: the kernel refuses a rule.
    """
    try:
        version = syscall("Landlock", _CREATE_RULESET, None, 0, 1)
    except OSError:
        return None
    rights = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    attributes = struct.pack("QQQ", rights, 0b11, 0b11)  # files; binding and connecting TCP; sockets and signals
    size = 8 if version < 4 else 16 if version < 6 else 24
    ruleset = syscall("Landlock", _CREATE_RULESET, attributes[:size], size, 0)
    allowed = [(path, _READ | _READ_FOLDER) for path in readable] + [(path, rights) for path in writable]
    for path, wanted in allowed:
        if not os.path.exists(path):
            continue
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        given = wanted & rights if os.path.isdir(path) else wanted & rights & _FILE_RIGHTS
        syscall(f"Landlock on {path}", _ADD_RULE, ruleset, 1, struct.pack("=Qi", given, place), 0)
        os.close(place)
    return ruleset


def restrict(ruleset: int) -> None:
    """Put this process under rules permanently; it must have given up new privileges before.

    Raises:
        OSError: the kernel refuses the call.
    """
    syscall("Landlock", _RESTRICT_SELF, ruleset, 0)
