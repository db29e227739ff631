"""Which files a program can reach, and nobody to signal outside: rules of Landlock, the kernel's own."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence

from .kernel import syscall

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ, _READ_FOLDER = 0b101, 0b1000  # execute and read a file; read a folder
_FILE_RIGHTS = 0b111 | 1 << 14 | 1 << 15  # of those that there are: what can be said of a file that is no folder


def rules(readable: Sequence[str], writable: Sequence[str]) -> int | None:
    """Make the rules under which a process reaches what lies below some paths, and no other file.

    Where the kernel knows how (Linux 6.7 and 6.12), they also keep it from TCP, from sending signals to any process
    outside, and from abstract sockets that were made outside.

    Args:
        readable: files and folders that can be read; those that are not there are left out.
        writable: files and folders in which anything can be done.

    Returns:
        A file descriptor for `restrict`, or None where the kernel has no Landlock (before 5.13).

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
    """Put this process under rules, for ever; it has to have given up new privileges.

    Args:
        ruleset: from `rules`.

    Raises:
        OSError: the kernel refuses.
    """
    syscall("Landlock", _RESTRICT_SELF, ruleset, 0)
