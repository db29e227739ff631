"""What a filter of system calls answers, by an interpreter of classic BPF that knows nothing of the tables."""

import struct

from r2vpo.sandbox.inside.seccomp import ALLOW, ARCHITECTURES, REFUSE, UNKNOWN, filter_lines

ANSWERS = {ALLOW: "allowed", REFUSE: "refused", UNKNOWN: "unknown"}
PID = 4321


def answer(machine, number, *arguments, writable=False, architecture=None):
    """What a program with the process id 4321 is answered."""
    given = [value & (1 << 64) - 1 for value in (*arguments, *[0] * (6 - len(arguments)))]
    data = struct.pack("<IIQ6Q", number & 0xFFFFFFFF, architecture or ARCHITECTURES[machine], 0, *given)
    lines, place, value = filter_lines(machine, pid=PID, writable=writable), 0, 0
    while True:
        operation, if_true, if_false, operand = lines[place]
        place += 1
        if operation == 0x20:
            (value,) = struct.unpack_from("<I", data, operand)
        elif operation == 0x54:
            value &= operand
        elif operation == 0x15:
            place += if_true if value == operand else if_false
        else:
            assert operation == 0x06
            return ANSWERS[operand]
