"""Running a program in a sandbox, as the reward does."""

import json
import os

from r2vpo.sandbox import memory_file

CALLS = """
import ctypes, errno, os, platform, signal, socket, struct, sys
libc = ctypes.CDLL(None, use_errno=True)
ARM = platform.machine() == "aarch64"
def call(x86, arm, *arguments):
    ctypes.set_errno(0)
    return libc.syscall(ctypes.c_long(arm if ARM else x86),
                        *[ctypes.c_long(a) if isinstance(a, int) else a for a in arguments])
def buffer(data=b"", size=4096):
    return ctypes.create_string_buffer(data, max(size, len(data)))
def text(data):
    return ctypes.c_char_p(data.encode())
"""


def run(sandbox, program, source=b"", seconds=5.0, **before):
    """Run a program as a script and return the report and what it printed."""
    files = [memory_file(json.dumps({"setup": "", "programs": [program]}).encode()), memory_file(source), memory_file()]
    try:
        report = sandbox.run("script", files, seconds, **before)
        return report, os.pread(files[2], 1 << 16, 0).decode(errors="replace")
    finally:
        for number in files:
            os.close(number)
