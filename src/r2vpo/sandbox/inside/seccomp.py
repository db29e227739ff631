"""The filter of system calls, in the kernel's classic BPF, from the tables of `calls`."""

from __future__ import annotations

import struct

from . import calls

Line = tuple[int, int, int, int]
"""Operation, how far to jump if true, how far if false, value."""

ARCHITECTURES = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_OWN = 0x7FFFFFFF
"""In a filter that is made before there is a process: its number."""
ALLOW, REFUSE, UNKNOWN = 0x7FFF0000, 0x00050001, 0x00050026
"""Of a filter: go on; EPERM; ENOSYS."""
_LOAD, _EQUAL, _AND, _LEAVE = 0x20, 0x15, 0x54, 0x06
_NUMBER, _ARCHITECTURE, _ARGUMENTS = 0, 4, 16


def filter_lines(machine: str, *, pid: int, writable: bool) -> list[Line]:
    """Return the filter for a machine.

    Calls of another architecture (32-bit entry points) are refused, and so are those of x32, whose numbers have a bit
    that none of the tables has.

    Args:
        machine: as `platform.machine` names it.
        pid: the program's own process id.
        writable: whether files may be changed.

    Raises:
        OSError: there is no table for it.
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
    """Return the filter for a machine as the kernel takes it, for a process that is yet to be made.

    Args:
        machine: as for `filter_lines`.
        writable: as for `filter_lines`.

    Raises:
        OSError: there is no table for it.
    """
    return b"".join(struct.pack("HBBI", *line) for line in filter_lines(machine, pid=_OWN, writable=writable))


def filled(code: bytes, pid: int) -> bytes:
    """Return the filter of a process.

    Args:
        code: from `template`.
        pid: the process's number.
    """
    return code.replace(struct.pack("I", _OWN), struct.pack("I", pid))


def _alternative(checks: list[calls.Check]) -> list[Line]:
    """Lines that allow the call when all checks hold, and that are jumped over when one fails."""
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
