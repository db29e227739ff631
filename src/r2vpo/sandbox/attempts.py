"""Program that tries what a sandbox must not allow, and prints what succeeded; it never runs outside a sandbox.

The host writes the path of a folder that only the host has to standard input.

Every call is made by its number, as a hostile program would do. A call counts as refused only if the filter answers,
with EPERM or ENOSYS. Any other error, and any success, means that the call has reached the kernel.
"""

import ctypes
import errno
import os
import platform
import resource
import socket
import struct
from collections.abc import Callable

OUTSIDE: str
ARM = platform.machine() == "aarch64"
CALL = ctypes.CDLL(None, use_errno=True).syscall
PARENT = os.getppid()
POINTER = 1 << 40  # an address at which nothing is: enough to see whether the kernel looks there


def call(number_x86: int, number_arm: int, *arguments: int) -> bool:
    """Tell whether a system call passes the filter."""
    ctypes.set_errno(0)
    number = number_arm if ARM else number_x86
    CALL(ctypes.c_long(number), *[ctypes.c_long(value) for value in arguments])
    return ctypes.get_errno() not in (errno.EPERM, errno.ENOSYS)


def possible(function: Callable[[], object]) -> bool:
    """Tell whether something can be done in Python."""
    try:
        function()
    except (OSError, ValueError):
        return False
    return True


READER = os.pipe()[0]
PAIR = socket.socketpair()
LEFT = PAIR[0].fileno()
ADDRESS = ctypes.create_string_buffer(struct.pack("H", socket.AF_UNIX) + b"\0r2vpo")
ATTEMPTS: dict[str, Callable[[], bool]] = {
    "processes": lambda: call(56, 220, 17, 0, 0, 0, 0) or call(59, 221, POINTER, 0, 0) or call(435, 435, POINTER, 88),
    "programs": lambda: call(59, 221, POINTER, 0, 0) or call(322, 281, -1, POINTER, 0, 0, 0x1000),
    "the network": lambda: possible(lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM)),
    "local sockets": lambda: possible(lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)),
    "sockets without a connection": lambda: possible(lambda: socket.socketpair(type=socket.SOCK_DGRAM)),
    "sending to an address": lambda: call(44, 206, LEFT, POINTER, 1, 0, ctypes.addressof(ADDRESS), 8),
    "passing files": lambda: call(46, 211, LEFT, POINTER, 0) or call(47, 212, LEFT, POINTER, 0),
    "signals": lambda: call(62, 129, PARENT, 0) or call(234, 131, PARENT, PARENT, 0) or call(200, 130, PARENT, 0),
    "signals to a group": lambda: call(62, 129, -1, 0) or call(62, 129, 0, 0),
    "signals with a value": lambda: call(129, 138, PARENT, 0, POINTER) or call(297, 240, PARENT, PARENT, 0, POINTER),
    "signals by fcntl": lambda: any(call(72, 25, READER, command, PARENT) for command in (8, 10, 15)),
    "notices by fcntl": lambda: any(call(72, 25, READER, command, 0) for command in (1024, 1026, 1031)),
    "asynchronous files": lambda: call(72, 25, READER, 4, 0o20000),
    "signals by ioctl": lambda: any(call(16, 29, LEFT, command, POINTER) for command in (0x8901, 0x8902, 0x5452)),
    "other processes' memory": lambda: call(310, 270, PARENT, POINTER, 1, POINTER, 1, 0) or call(311, 271, PARENT),
    "tracing": lambda: call(101, 117, 16, PARENT, 0, 0) or call(312, 272, PARENT, PARENT, 0, 0, 0),
    "handles of processes": lambda: call(434, 434, PARENT, 0) or call(438, 438, -1, 0, 0) or call(424, 424, -1, 0),
    "who its peer is": lambda: call(55, 209, LEFT, 1, 17, POINTER, POINTER) or call(55, 209, LEFT, 1, 77, POINTER),
    "others' limits": lambda: call(302, 261, PARENT, 7, 0, 0),
    "others' priorities": lambda: call(141, 140, 0, PARENT, 0) or call(203, 122, PARENT, 8, POINTER),
    "others' priority by a lock": lambda: any(call(202, 98, POINTER, kind, 0, 0) for kind in (6, 7, 8, 11, 12, 13)),
    "waking others": lambda: any(call(202, 98, POINTER, kind, 1, 0, POINTER) for kind in (1, 3, 4, 5, 10)),
    "more signals that wait": lambda: possible(lambda: resource.setrlimit(resource.RLIMIT_SIGPENDING, (65, 65))),
    "others' clocks": lambda: call(228, 113, (~PARENT << 3) | 2, POINTER),
    "prctl": lambda: call(157, 167, 1, 0) or call(157, 167, 22, 0),
    "io_uring": lambda: call(425, 425, 1, POINTER) or call(426, 426, -1, 0) or call(427, 427, -1, 0),
    "page faults": lambda: call(323, 282, 1),
    "the kernel's programs": lambda: call(321, 280, 0, POINTER, 1) or call(298, 241, POINTER, 0, -1, -1, 0),
    "keys": lambda: call(250, 219, 0, -3, 0) or call(248, 217, POINTER, POINTER, 0, 0, -3),
    "shared memory": lambda: call(29, 194, 0, 4096, 0o1600) or call(64, 190, 0, 1, 0o1600) or call(68, 186, 0, 0o1600),
    "memory files": lambda: call(319, 279, POINTER, 0) or call(447, 447, 0),
    "namespaces": lambda: call(272, 97, 0x10000000) or call(308, 268, -1, 0) or call(161, 51, POINTER),
    "mounting": lambda: call(165, 40, POINTER, POINTER, 0, 0, 0) or call(428, 428, -100, POINTER, 0),
    "handles of files": lambda: call(304, 265, -1, POINTER, 0) or call(437, 437, -100, POINTER, POINTER, 24),
    "owners and modes of files": lambda: any(
        call(*numbers, -1, 0, 0) for numbers in ((91, 52), (268, 53), (452, 452), (93, 55), (260, 54), (280, 88))
    ),
    "locks of files": lambda: (
        call(73, 32, -1, 5) or any(call(72, 25, READER, kind, POINTER) for kind in (6, 7, 37, 38))
    ),
    "files by path alone": lambda: possible(lambda: os.open("/", os.O_PATH)),
    "a machine's modules": lambda: call(175, 105, POINTER, 0, POINTER) or call(313, 273, -1, POINTER, 0),
    "writing": lambda: possible(lambda: os.open(OUTSIDE + "/made", os.O_CREAT | os.O_WRONLY)),
    "reading": lambda: possible(lambda: os.open(OUTSIDE + "/secret", os.O_RDONLY)),
    "seeing": lambda: possible(lambda: os.stat(OUTSIDE + "/secret")),
}

if __name__ == "__main__":  # which it is in a sandbox
    OUTSIDE = input()
    for name, attempt in ATTEMPTS.items():
        if attempt():
            print(name)
    print("end")
