"""What a process gives up permanently before it runs a program: privileges, files, system calls and memory."""

from __future__ import annotations

import ctypes
import os
import resource
import struct

from . import landlock, seccomp
from .kernel import LIBC, checked, prctl

FILE_BYTES = 16 << 20
OPEN_FILES = 64
WAITING_SIGNALS = 64
"""The kernel counts the pending signals of all processes of a user together, and at the limit no more timers can be
created."""
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, and prevent other processes of the user from inspecting it."""
    prctl(_PR_SET_PDEATHSIG, 9)
    prctl(_PR_SET_DUMPABLE, 0)
    if os.getppid() != parent:  # it has already ended
        os._exit(1)


def confine(*, memory_bytes: int, cpu_seconds: float, calls: bytes, rules: int | None) -> None:
    """Give up permanently, for this process, what a program does not need.

    Args:
        memory_bytes: limit for the address space.
        cpu_seconds: limit for the CPU time, rounded up; the parent enforces a finer limit.
        calls: the result of `seccomp.template`.
        rules: the result of `landlock.rules`.

    Raises:
        OSError: the kernel refuses one of them.
    """
    cpu = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime + cpu_seconds) + 2
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_MEMLOCK, 0),
        (resource.RLIMIT_SIGPENDING, WAITING_SIGNALS),
    ):
        resource.setrlimit(kind, (limit, limit))
    prctl(_PR_SET_NO_NEW_PRIVS, 1)
    # Root without capabilities can still read root's files, but can neither trace nor inspect processes that have them.
    header, none = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)
    checked("capset", LIBC.capset(header, none))
    if rules is not None:
        landlock.restrict(rules)
    code = ctypes.create_string_buffer(seccomp.filled(calls, os.getpid()))
    prctl(_PR_SET_SECCOMP, 2, struct.pack("HxxxxxxP", len(calls) // 8, ctypes.addressof(code)))
