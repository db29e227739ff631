"""The first process of a sandbox: an interpreter with everything loaded that forks a process for each program.

It never runs a program and never reads a test: it takes file descriptors from outside, passes them to the processes
that it forks, measures these processes, and ends them.
"""

from __future__ import annotations

import builtins
import contextlib
import gc
import importlib
import json
import os
import platform
import random
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

from . import confine, landlock, program, root, seccomp, tester

COMMON = (
    "bisect collections copy dataclasses datetime enum functools heapq itertools math operator re string threading "
    "typing"
)
FILES = 256
TICK_MILLISECONDS = 10
FOLDER_ENTRIES = 10_000
ASLEEP_SECONDS, ASLEEP_SHARE = 1.0, 0.01


def main(config: dict[str, Any]) -> None:
    """Serve requests until the socket closes.

    Args:
        config: `control` (the socket's file descriptor), `parent` (the parent's process id, 0 if it cannot be seen),
            `memory_bytes`, `own_root` (whether to move to its own root), `writable` (the folder that programs may write
            to, or an empty text), `readable` (paths), `modules` (to load in advance) and `paths` (where they are).

    Raises:
        OSError: the machine does not allow the process its own root.
    """
    # Children close the file descriptors that they must not keep up to this number, so none may be higher.
    most = min(FILES, resource.getrlimit(resource.RLIMIT_NOFILE)[0] % (1 << 63))
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    # A process that starts a sandbox while scoring an item has a limit for that item, but this process serves many.
    hard = resource.getrlimit(resource.RLIMIT_CPU)[1]
    resource.setrlimit(resource.RLIMIT_CPU, (hard, hard))
    control = socket.socket(fileno=os.dup(config["control"]))
    os.close(config["control"])
    if config["own_root"]:
        root.leave(config["readable"])
    confine.die_with_parent(config["parent"] or os.getppid())
    sys.path += config["paths"]
    sys.argv = ["program"]
    # The module `site`, which is not loaded, would define them with its own class; programs only call them.
    builtins.exit = builtins.quit = sys.exit  # type: ignore[assignment]
    for name in (*COMMON.split(), *config["modules"]):
        importlib.import_module(name)
    folder = config["writable"]
    rules = landlock.rules(config["readable"], [folder, os.devnull] if folder else [])
    calls = seccomp.template(platform.machine(), writable=bool(folder))
    control.send(b"ready")
    _open_standard_files()
    gc.collect()
    gc.freeze()
    untouched = folder and os.stat(folder).st_ctime_ns
    while True:
        data, files, _, _ = socket.recv_fds(control, 1 << 16, 8)
        if not data:
            return
        request = json.loads(data)
        limits = {
            "memory_bytes": config["memory_bytes"],
            "cpu_seconds": request["seconds"] - request["spent"],
            "calls": calls,
            "rules": rules,
        }
        children = _start(request.pop("mode"), files, limits)
        for number in files:
            os.close(number)
        report = _watch(children, folder, **request)
        report["used"] = bool(folder) and os.stat(folder).st_ctime_ns != untouched
        control.send(json.dumps(report).encode())


def _start(mode: str, files: list[int], limits: dict[str, Any]) -> list[int]:
    """Fork what a request needs; the process that decides comes last."""
    if mode == "script":
        job, source, sink = files

        def script() -> int:
            text = _read(job)
            os.dup2(source, 0)
            os.dup2(sink, 1)
            confine.confine(**limits)
            os.closerange(3, FILES)
            return program.run(text)

        return [_fork(script)]
    job, test, verdict = files
    ours, theirs = (part.detach() for part in socket.socketpair())

    def serve() -> int:
        text = _read(job)
        confine.confine(**limits)
        os.dup2(ours, 3)
        os.closerange(4, FILES)
        program.serve(3, text)
        return 0

    def decide() -> int:
        text = _read(test)
        confine.confine(**limits)
        for number, copy in enumerate([os.dup(theirs), os.dup(verdict)], start=3):
            os.dup2(copy, number)
        os.closerange(5, FILES)
        os.write(4, json.dumps(tester.judge(3, text)).encode())
        return 0

    children = [_fork(serve), _fork(decide)]
    os.close(ours)
    os.close(theirs)
    return children


def _open_standard_files() -> None:
    """Open standard files, separately in each process: all processes that share an open file see its flags."""
    null = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(null, number)
    os.close(null)


def _read(number: int) -> Any:
    return json.loads(os.pread(number, os.fstat(number).st_size, 0))


def _fork(run: Callable[[], int]) -> int:
    parent = os.getpid()
    if pid := os.fork():
        return pid
    status = 70
    try:
        confine.die_with_parent(parent)
        _open_standard_files()
        random.seed(0)
        status = run()
    finally:
        os._exit(status)


def _watch(
    children: list[int], folder: str, seconds: float, patience: float, spent: float, elapsed: float
) -> dict[str, Any]:
    """Wait for the last child, then end all children.

    A tick counts its nominal length, however late it comes: on a busy machine this process waits for a core as long as
    the children do, and they must not be mistaken for sleeping ones.

    Args:
        children: process ids.
        folder: the folder that programs may write to, or an empty text.
        seconds: limit for the CPU time.
        patience: limit for the ticks, in seconds.
        spent: CPU time of earlier work that belongs to this request.
        elapsed: ticks of that work, in seconds.
    """
    ended = select.poll()
    handles = [os.pidfd_open(pid) for pid in children]
    ended.register(handles[-1], select.POLLIN)
    late = False
    while not ended.poll(TICK_MILLISECONDS) and not late and _entries(folder) <= FOLDER_ENTRIES:
        elapsed += TICK_MILLISECONDS / 1000
        used = spent + sum(map(_cpu_seconds, children))
        asleep = elapsed > max(seconds, ASLEEP_SECONDS) and used < ASLEEP_SHARE * elapsed
        late = asleep or elapsed > patience or used > seconds
    status = 0
    for pid, handle in zip(children, handles, strict=True):
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.kill(pid, signal.SIGKILL)
        _, status, usage = os.wait4(pid, 0)
        spent += usage.ru_utime + usage.ru_stime
        os.close(handle)
    status = os.waitstatus_to_exitcode(status)
    return {"late": late or spent > seconds, "spent": spent, "elapsed": elapsed, "status": status}


def _entries(folder: str) -> int:
    """Count files and folders in a file system: each takes memory that its byte limit does not cover."""
    if not folder:
        return 0
    found = os.statvfs(folder)
    return found.f_files - found.f_ffree


def _cpu_seconds(pid: int) -> float:
    try:
        return time.clock_gettime((~pid << 3) | 2)  # the CPU clock of another process, see clock_getcpuclockid(3)
    except OSError:
        return 0.0
