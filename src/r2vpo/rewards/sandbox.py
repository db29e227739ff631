"""A place where programs of a model run: apart from the user's processes, files, environment and network."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import sysconfig
import tempfile
from collections.abc import Sequence
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from pathlib import Path
from typing import Literal, NamedTuple

Isolation = Literal["bubblewrap", "process"]
Choice = Literal["auto", "bubblewrap", "process"]
ISOLATIONS: tuple[Isolation, ...] = ("bubblewrap", "process")
"""Those of `auto`, the stronger first."""

PATIENCE = 10
START_SECONDS = 120.0
FOLDER_BYTES = 64 << 20
_GUEST = Path(__file__).parent / "guest"
# The folder that holds the guest holds a text.py and others too, which no program should import by chance.
_COMMAND = (
    "import json, sys; path, config = sys.argv[1:]; sys.path.insert(0, path); import guest.zygote; "
    "sys.path.remove(path); guest.zygote.main(json.loads(config))"
)
_PROBE = """
import os, socket
def possible(name, deed):
    try:
        deed()
    except OSError:
        return
    print(name)
possible("processes", lambda: os.fork() or os._exit(0))
possible("the network", lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
possible("local sockets", lambda: socket.socket(socket.AF_UNIX, socket.SOCK_STREAM))
possible("signals", lambda: os.kill(os.getppid(), 0))
possible("writing", lambda: os.close(os.open({folder!r} + "/r2vpo-probe", os.O_CREAT | os.O_WRONLY)))
print("end")
"""


class Settings(NamedTuple):
    """What kind of sandbox.

    Attributes:
        isolation: `bubblewrap` or `process`.
        memory_bytes: limit for the address space of each process.
        modules: installed modules that are loaded beforehand.
    """

    isolation: Isolation
    memory_bytes: int
    modules: tuple[str, ...] = ()


class Report(NamedTuple):
    """What became of a request.

    Attributes:
        late: whether it was ended because of the time.
        seconds: CPU time of its processes.
        status: how the process that decides ended; negative for a signal.
        used: whether the sandbox's files were touched, so that the next program should have another one.
    """

    late: bool
    seconds: float
    status: int
    used: bool


class Working(NamedTuple):
    """The isolation that works here.

    Attributes:
        isolation: its kind; None if none works.
        private: whether programs are kept from reading what they need not.
        failed: the kinds that were tried before, each with the reason.
    """

    isolation: Isolation | None
    private: bool
    failed: tuple[str, ...]


class Unusable(Exception):
    """A sandbox does not work here; the text says why."""


class Sandbox:
    """A sandbox with an interpreter that waits for programs; it ends with the thread that started it.

    Args:
        settings: its kind.

    Raises:
        Unusable: it does not start.
    """

    def __init__(self, settings: Settings) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._control.settimeout(START_SECONDS)
        errors = tempfile.TemporaryFile()
        try:
            self._process = subprocess.Popen(
                _command(settings, theirs.fileno()),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                env=_ENVIRONMENT,
                cwd="/",
                pass_fds=[theirs.fileno()],
            )
        except OSError as error:
            raise Unusable(str(error)) from None
        finally:
            theirs.close()
        try:
            hello = self._control.recv(1 << 16)
        except OSError:
            hello = b""
        with errors:
            errors.seek(0)
            said = errors.read().decode(errors="replace").strip().splitlines()
        if not hello:
            self.close()
            raise Unusable(said[-1] if said else "it ended without a word")
        self.landlock = bool(json.loads(hello)["landlock"])

    def run(self, mode: Literal["script", "test"], files: Sequence[int], seconds: float) -> Report:
        """Run a program.

        Args:
            mode: `script`, with the files job, standard input and output; `test`, with job, test and verdict.
            files: file descriptors.
            seconds: limit for the CPU time; on the clock it is ten times as much.

        Raises:
            Unusable: the sandbox has ended.
        """
        patience = PATIENCE * seconds
        self._control.settimeout(patience + START_SECONDS)
        request = {"mode": mode, "seconds": seconds, "patience": patience}
        try:
            socket.send_fds(self._control, [json.dumps(request).encode()], files)
            data = self._control.recv(1 << 16)
        except OSError as error:
            raise Unusable(str(error)) from None
        if not data:
            raise Unusable("it has ended")
        return Report(**json.loads(data))

    def close(self) -> None:
        """End everything in it."""
        self._control.close()
        self._process.kill()
        self._process.wait()


def memory_file(content: bytes | None = None) -> int:
    """Return a file descriptor of a file in memory.

    Args:
        content: what it holds, for ever; None for an empty file that can be written.
    """
    number = os.memfd_create("r2vpo", os.MFD_ALLOW_SEALING | os.MFD_CLOEXEC)
    if content is not None:
        with os.fdopen(os.dup(number), "wb") as file:
            file.write(content)
        os.lseek(number, 0, os.SEEK_SET)
        fcntl(number, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_GROW | F_SEAL_SHRINK)
    return number


def probe(settings: Settings) -> bool:
    """Start a sandbox and let a program in it try what it must not do.

    Args:
        settings: its kind.

    Returns:
        Whether programs are kept from reading what they need not.

    Raises:
        Unusable: it does not start, or the program could do something; the text says what.
    """
    if not hasattr(os, "memfd_create") or not hasattr(socket, "send_fds"):
        raise Unusable("it needs Linux")
    sandbox = Sandbox(settings)
    outside = tempfile.mkdtemp()
    files = [
        memory_file(json.dumps({"setup": "", "programs": [_PROBE.replace("{folder!r}", repr(outside))]}).encode()),
        memory_file(b""),
        memory_file(),
    ]
    try:
        report = sandbox.run("script", files, 10.0)
        said = os.pread(files[2], 1 << 12, 0).decode().splitlines()
    finally:
        sandbox.close()
        shutil.rmtree(outside)
        for number in files:
            os.close(number)
    if said != ["end"]:
        what = ", ".join(said[:-1]) if said and said[-1] == "end" else f"nothing, it ends with status {report.status}"
        raise Unusable(f"it allows a program {what}")
    return settings.isolation == "bubblewrap" or sandbox.landlock


def first_working(wanted: Sequence[Isolation], *, memory_bytes: int, modules: Sequence[str] = ()) -> Working:
    """Try kinds of isolation until one works.

    Args:
        wanted: in the order of preference.
        memory_bytes: limit for the address space of each process.
        modules: installed modules that programs may import.
    """
    failed = []
    for isolation in wanted:
        try:
            private = probe(Settings(isolation, memory_bytes, tuple(modules)))
        except Unusable as error:
            failed.append(f"{isolation}: {error}")
        else:
            return Working(isolation, private, tuple(failed))
    return Working(None, False, tuple(failed))


# The order of a set must not decide a score, and a thread for each core has no use here.
_ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}


def _command(settings: Settings, control: int) -> list[str]:
    wrapped = settings.isolation == "bubblewrap"
    paths = list(dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))) if settings.modules else []
    readable = _readable()
    # Under a name of the sandbox's own: an environment that lies in /tmp would be hidden by the private one.
    packages = [f"/sandbox/packages/{number}" for number in range(len(paths))] if wrapped else paths
    config = {
        "control": control,
        "parent": 0 if wrapped else os.getpid(),
        "memory_bytes": settings.memory_bytes,
        "writable": "/tmp" if wrapped else "",
        "readable": None if wrapped else [*readable, *paths, str(_GUEST)],
        "modules": list(settings.modules),
        "paths": packages,
    }
    python = os.path.realpath(sys.executable)
    # Without the user's site packages, and without the folder that it is started in.
    inner = [python, "-S", "-s", "-P", "-c", _COMMAND]
    if not wrapped:
        return [*inner, str(_GUEST.parent), json.dumps(config)]
    program = shutil.which("bwrap")
    if program is None:
        raise Unusable("bubblewrap is not installed")
    binds = [part for path in dict.fromkeys([*readable, python]) for part in ("--ro-bind-try", path, path)]
    binds += [part for pair in zip(paths, packages, strict=True) for part in ("--ro-bind", *pair)]
    return [
        *(program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--hostname", "sandbox"),
        *(*binds, "--ro-bind", str(_GUEST), "/sandbox/guest", "--dev-bind", "/dev/null", "/dev/null"),
        *("--size", str(FOLDER_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"),
        *(*inner, "/sandbox", json.dumps(config)),
    ]


def _readable() -> list[str]:
    """What an interpreter needs of the file system."""
    own = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR")]
    base = [path.replace(sys.prefix, sys.base_prefix, 1) for path in own if path]
    shared = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    return list(dict.fromkeys([*base, *shared]))
