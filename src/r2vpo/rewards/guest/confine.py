"""What a process gives up for ever before it runs a program: privileges, files, system calls, memory."""

from __future__ import annotations

import ctypes
import os
import platform
import resource
import struct
from collections.abc import Sequence

from . import syscalls

FILE_BYTES = 16 << 20
_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_WRITE_FLAGS = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CLONE_THREAD = 0x00010000
_PR_SET_PDEATHSIG, _PR_SET_DUMPABLE, _PR_SET_SECCOMP, _PR_SET_NO_NEW_PRIVS = 1, 4, 22, 38
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_READ = 0b1101  # execute, read a file, read a folder

_libc = ctypes.CDLL(None, use_errno=True)


def die_with_parent(parent: int) -> None:
    """Have this process killed when its parent ends, and let no other process of the user look into it.

    Args:
        parent: process id of the parent, in case it has ended already.
    """
    _prctl(_PR_SET_PDEATHSIG, 9)
    _prctl(_PR_SET_DUMPABLE, 0)
    if os.getppid() != parent:
        os._exit(1)


def landlock(paths: Sequence[str]) -> int | None:
    """Make the rules under which a process reads what lies below some paths, and nothing else.

    Args:
        paths: files and folders; those that are not there are left out.

    Returns:
        A file descriptor for `confine`, or None where the kernel has no Landlock.
    """
    version = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    if version < 1:
        return None
    handled = (1 << {1: 13, 2: 14, 3: 15, 4: 15}.get(version, 16)) - 1
    rules = int(_libc.syscall(_CREATE_RULESET, struct.pack("Q", handled), ctypes.c_size_t(8), 0))
    for path in paths:
        if not os.path.exists(path):
            continue
        place = os.open(path, os.O_PATH | os.O_CLOEXEC)
        rights = _READ if os.path.isdir(path) else _READ & ~0b1000
        if _libc.syscall(_ADD_RULE, rules, 1, struct.pack("=Qi", rights, place), 0) != 0:
            raise OSError(ctypes.get_errno(), f"Landlock refuses {path}")
        os.close(place)
    return rules


def confine(*, memory_bytes: int, cpu_seconds: float, writable: bool, rules: int | None) -> None:
    """Give up, for this process and for ever, what a program does not need.

    Args:
        memory_bytes: limit for the address space.
        cpu_seconds: limit for the CPU time, rounded up; a finer one is the parent's work.
        writable: whether files may be written; for a file system that is the sandbox's own.
        rules: from `landlock`.

    Raises:
        OSError: the kernel refuses one of them.
    """
    cpu = int(resource.getrusage(resource.RUSAGE_SELF).ru_utime + cpu_seconds) + 2
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_CPU, cpu),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, 64),
    ):
        resource.setrlimit(kind, (limit, limit))
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)
    _drop_capabilities()
    if rules is not None and _libc.syscall(_RESTRICT_SELF, rules, 0) != 0:
        raise OSError(ctypes.get_errno(), "Landlock refuses its rules")
    _filter_calls(writable)


def _drop_capabilities() -> None:
    # Root without capabilities can still read root's files, but neither trace nor look into processes that have them.
    header, none = struct.pack("Ii", 0x20080522, 0), struct.pack("6I", *[0] * 6)
    if _libc.capset(header, none) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _filter_calls(writable: bool) -> None:
    program = b"".join(struct.pack("HBBI", *line) for line in _filter(platform.machine(), writable))
    code = ctypes.create_string_buffer(program)
    pointer = struct.pack("HxxxxxxP", len(program) // 8, ctypes.addressof(code))
    _prctl(_PR_SET_SECCOMP, 2, pointer)


def _filter(machine: str, writable: bool) -> list[tuple[int, int, int, int]]:
    """The filter in BPF: lines of operation, jump if true, jump if false, value."""
    if machine not in _AUDIT:
        raise OSError(f"no table of system calls for {machine}")
    load, equal, has, leave = 0x20, 0x15, 0x45, 0x06
    allow, refuse, unknown = 0x7FFF0000, 0x00050001, 0x00050026  # EPERM; ENOSYS, after which the C library tries clone

    def argument(number: int) -> tuple[int, int, int, int]:
        return (load, 0, 0, 16 + 8 * number)  # the lower half, on machines that are little-endian

    lines = [(load, 0, 0, 4), (equal, 1, 0, _AUDIT[machine]), (leave, 0, 0, refuse), (load, 0, 0, 0)]
    calls = syscalls.numbers(syscalls.ALLOWED, machine)
    if writable:
        calls += syscalls.numbers(syscalls.WRITING, machine)
    for call in calls:
        lines += [(equal, 0, 1, call), (leave, 0, 0, allow)]
    lines += [(equal, 0, 1, syscalls.CLONE3), (leave, 0, 0, unknown)]
    # A thread is allowed, a process is not.
    lines += [(equal, 0, 4, syscalls.CLONE[machine]), argument(0), (has, 0, 1, _CLONE_THREAD)]
    lines += [(leave, 0, 0, allow), (leave, 0, 0, refuse)]
    for table, flags in ((syscalls.OPEN, 1), (syscalls.OPENAT, 2)):
        if machine in table:
            lines += [(equal, 0, 4, table[machine]), argument(flags), (has, 0, 1, 0 if writable else _WRITE_FLAGS)]
            lines += [(leave, 0, 0, refuse), (leave, 0, 0, allow)]
    return [*lines, (leave, 0, 0, refuse)]


def _prctl(option: int, value: int, pointer: bytes | None = None) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), pointer, ctypes.c_ulong(0), ctypes.c_ulong(0)) != 0:
        raise OSError(ctypes.get_errno(), f"prctl {option}")
