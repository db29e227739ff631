"""The sandbox's own root: a read-only file system that holds only what programs need.

For machines without bubblewrap that let a user make namespaces. It keeps programs from seeing which files exist, which
Landlock does not: it allows `stat`.
"""

from __future__ import annotations

import ctypes
import os
import socket
import struct
from collections.abc import Sequence

from .kernel import LIBC, checked, syscall

_USER, _FILES, _NAMES, _IPC, _NETWORK = 0x10000000, 0x20000, 0x4000000, 0x8000000, 0x40000000
_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_BIND, _RECURSIVE, _PRIVATE, _NO_SUID, _NO_DEVICES = 0x1000, 0x4000, 0x40000, 2, 4
_DETACH = 2
_HERE, _READ_ONLY, _WHOLE_TREE = -100, 1, 0x8000
_NOBODY = 65534


def leave(readable: Sequence[str]) -> None:
    """Move this process, which has one thread, to its own namespaces and root.

    Args:
        readable: files and folders that it contains under their own names, in addition to /dev/null; those that do not
            exist are skipped.

    Raises:
        OSError: the machine does not allow it; the process may be in an intermediate state and should end.
    """
    sources = {path: os.path.realpath(path) for path in (*readable, os.devnull) if os.path.exists(path)}
    folders = {path for path in sources if os.path.isdir(path)}
    user, group = os.geteuid(), os.getegid()
    checked("namespaces", LIBC.unshare(_USER | _FILES | _NAMES | _IPC | _NETWORK))
    for name, text in (("setgroups", "deny"), ("uid_map", f"{_NOBODY} {user} 1"), ("gid_map", f"{_NOBODY} {group} 1")):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    _mount(None, "/", None, _RECURSIVE | _PRIVATE)
    # On /proc, since every machine has that folder. The old root lies in the new one until all is taken from it.
    _mount("tmpfs", "/proc", "tmpfs", _NO_SUID | _NO_DEVICES, "size=1m,mode=755")
    os.mkdir("/proc/old")
    syscall("pivot_root", _PIVOT_ROOT[os.uname().machine], b"/proc", b"/proc/old")
    os.chdir("/")
    for path, source in sources.items():
        if path in folders:
            os.makedirs(path, exist_ok=True)
        else:
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if not os.path.exists(path):
                os.close(os.open(path, os.O_CREAT | os.O_WRONLY))
        _mount(f"/old{source}", path, None, _BIND | _RECURSIVE)
    checked("umount", LIBC.umount2(b"/old", _DETACH))
    os.rmdir("/old")
    _set_attributes("/", _READ_ONLY | _NO_SUID | _NO_DEVICES, 0, _WHOLE_TREE)
    _set_attributes(os.devnull, 0, _NO_DEVICES, 0)
    socket.sethostname("sandbox")


def _set_attributes(path: str, given: int, taken: int, flags: int) -> None:
    attributes = struct.pack("QQQQ", given, taken, 0, 0)
    syscall("mount_setattr", _MOUNT_SETATTR, _HERE, path.encode(), flags, attributes, len(attributes))


def _mount(source: str | None, target: str, kind: str | None, flags: int, options: str | None = None) -> None:
    texts = [None if text is None else text.encode() for text in (source, target, kind, options)]
    done = LIBC.mount(texts[0], texts[1], texts[2], ctypes.c_ulong(flags), texts[3])
    checked(f"mount {target}", done)
