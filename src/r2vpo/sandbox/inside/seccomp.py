"""Filter of system calls in the kernel's classic BPF, built from the tables in `calls`."""

from __future__ import annotations

import struct

from . import calls

Line = tuple[int, int, int, int]
"""Operation, jump distance if true, jump distance if false, and value."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OWN = 0x7FFFFFFF
"""Placeholder for the process id in a filter that is made before the process exists."""
ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026
"""Results of a filter: continue; EPERM; ENOSYS."""
_LOAD, _EQUAL, _AND, _LEAVE = 0x20, 0x15, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def filter_lines(machine: str, *, pid: int, writable: bool) -> list[Line]:
    """Return the filter for a machine.

    Calls of another architecture (32-bit entry points) are refused, and so are those of x32, whose numbers have a bit
    that does not occur in the tables.

    Raises:
        OSError: there is no table for the machine.
    """
    if machine not in ARCHITECTURES:
        raise OSError(f"no table of system calls for {machine}")
    lines = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 1, 0, ARCHITECTURES[machine]), (_LEAVE, 0, 0, REFUSE)]
    lines += [(_LOAD, 0, 0, _NUMBER)]
    always = calls.numbers(calls.ALWAYS, machine)
    if writable:
        always |= calls.numbers(calls.WRITING, machine)
    for number in always.values():
        lines += [(_EQUAL, 0, 1, number), (_LEAVE, 0, 0, ALLOW)]
    alternatives = calls.conditions(pid, writable)
    for name, number in calls.numbers(calls.ARGUED, machine).items():
        block = [line for checks in alternatives[name] for line in _alternative(checks)]
        block.append((_LEAVE, 0, 0, REFUSE))
        lines += [(_EQUAL, 0, len(block), number), *block]
    return [*lines, (_EQUAL, 0, 1, calls.CLONE3), (_LEAVE, 0, 0, UNKNOWN), (_LEAVE, 0, 0, REFUSE)]


def template(machine: str, *, writable: bool) -> bytes:
    """Return the filter for a machine in the kernel's format, for a process that does not exist yet.

    Raises:
        OSError: there is no table for the machine.
    """
    return b"".join(struct.pack("HBBI", *line) for line in filter_lines(machine, pid=_OWN, writable=writable))


def filled(code: bytes, pid: int) -> bytes:
    """Return the filter for a process."""
    return code.replace(struct.pack("I", _OWN), struct.pack("I", pid))


def _alternative(checks: list[calls.Check]) -> list[Line]:
    """Return lines that allow the call if all checks hold, and that are skipped if one fails."""
    lines: list[Line] = [(_LEAVE, 0, 0, ALLOW)]
    for check in reversed(checks):
        lines = [*_check(check, behind=len(lines)), *lines]
    return lines


def _check(check: calls.Check, behind: int) -> list[Line]:
    lower = _ARGUMENTS + 8 * check.argument  # both machines are little-endian
    lines: list[Line] = [(_LOAD, 0, 0, lower)]
    if check.mask != 0xFFFFFFFF:
        lines.append((_AND, 0, 0, check.mask))
    *others, last = check.values
    lines += [(_EQUAL, len(others) - place, 0, value) for place, value in enumerate(others)]
    lines.append((_EQUAL, 0, behind, last))
    if check.pointer:
        lines = [(_LOAD, 0, 0, lower + 4), (_EQUAL, 0, len(lines) + behind, 0), *lines]
    return lines
