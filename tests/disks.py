"""Disks of their own, which can be full or read-only; mounting them takes an administrator."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@functools.cache
def can_mount() -> bool:
    """Whether a small disk can be had: mounting takes an administrator."""
    probe = Path(f"/tmp/r2vpo-mount-probe-{os.getpid()}")
    if os.name != "posix" or os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    probe.mkdir()
    options = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(probe)]
    mounted = subprocess.run(options, capture_output=True).returncode == 0
    if mounted:
        subprocess.run(["umount", str(probe)], check=True)
    probe.rmdir()
    return mounted


@contextmanager
def disk(folder: Path, megabytes: int) -> Iterator[None]:
    """Mount a disk of so many MiB as a new folder."""
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Let nobody write on a disk."""
    subprocess.run(["mount", "-o", "remount,ro", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["mount", "-o", "remount,rw", str(folder)], check=True)
