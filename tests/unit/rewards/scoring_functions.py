"""What the workers of the pool's tests run: functions that behave well, and functions that do not."""

import contextlib
import os
import signal
import struct
import sys
import time


def _spin() -> None:
    while True:
        pass


def _write() -> None:
    print("something between the frames", flush=True)
    os.write(1, b"and below Python")


def _frames(data: bytes) -> None:
    # What the worker writes its frames to is its highest file descriptor but one or two.
    for number in range(3, 32):
        with contextlib.suppress(OSError):
            os.write(number, data)


def _raise() -> None:
    raise ValueError("no such item")


DEEDS = {
    "sleep": lambda: time.sleep(600),
    "spin": _spin,
    "power": lambda: 9**9**9,  # one C call, in which no thread and no signal handler of Python runs
    "allocate": lambda: bytearray(8 << 30),
    "exit": lambda: os._exit(3),
    "segfault": lambda: os.kill(os.getpid(), signal.SIGSEGV),
    "raise": _raise,
    "print": _write,
    "flood": lambda: _frames(struct.pack("!I", 1 << 31) + b"[" * 10_000),
    "deep": lambda: _frames(struct.pack("!I", 50_000) + b"[" * 50_000),
    "forge": lambda: _frames(b"".join(struct.pack("!I", len(data)) + data for data in [b'{"score": 9}'] * 3)),
    "long": lambda: (_ for _ in ()).throw(ValueError("x" * 10**7)),
    "half": lambda: (_frames(struct.pack("!I", 100) + b"{"), os._exit(0)),
    "surrogate": lambda: (_ for _ in ()).throw(ValueError("\ud800")),
}


def act(what: str, value: float = 1.0) -> float:
    """Do as an item says, and return its value."""
    if what == "torch":
        return float("torch" in sys.modules)
    if what == "hash":
        return float(hash("the same in every worker") % 1000)
    if what in DEEDS:
        DEEDS[what]()
    return value
