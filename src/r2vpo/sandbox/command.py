"""Command line of a sandbox's first process, and the parts of the file system that it needs."""

from __future__ import annotations

import json
import os
import shutil
import sys
import sysconfig
from pathlib import Path

from r2vpo.sandbox.settings import Settings, Unusable

FOLDER_BYTES = 64 << 20
_INSIDE = Path(__file__).parent / "inside"
# The folder around `inside` also holds other modules, which no program should import by accident.
_COMMAND = (
    "import json, sys; path, config = sys.argv[1:]; sys.path.insert(0, path); import inside.zygote; "
    "sys.path.remove(path); inside.zygote.main(json.loads(config))"
)

# The order of a set must not affect a score, and one thread per core would be of no use here.
ENVIRONMENT = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1"}


def command(settings: Settings, control: int) -> list[str]:
    """Return the command to start.

    Raises:
        Unusable: bubblewrap is requested but not installed.
    """
    wrapped = settings.isolation == "bubblewrap"
    paths = list(dict.fromkeys(map(sysconfig.get_path, ("purelib", "platlib")))) if settings.modules else []
    readable = _readable()
    # Mounted under the sandbox's own name: the private /tmp would hide an environment that is in /tmp.
    packages = [f"/sandbox/packages/{number}" for number in range(len(paths))] if wrapped else paths
    config = {
        "control": control,
        "parent": 0 if wrapped else os.getpid(),
        "memory_bytes": settings.memory_bytes,
        "own_root": settings.own_root and not wrapped,
        "writable": "/tmp" if wrapped else "",
        "readable": [*readable, *packages],
        "modules": list(settings.modules),
        "paths": packages,
    }
    python = os.path.realpath(sys.executable)
    # Without the user's site packages, and without the working directory.
    inner = [python, "-S", "-s", "-P", "-c", _COMMAND]
    if not wrapped:
        return [*inner, str(_INSIDE.parent), json.dumps(config)]
    program = shutil.which("bwrap")
    if program is None:
        raise Unusable("bubblewrap is not installed")
    binds = [part for path in dict.fromkeys([*readable, python]) for part in ("--ro-bind-try", path, path)]
    binds += [part for pair in zip(paths, packages, strict=True) for part in ("--ro-bind", *pair)]
    return [
        *(program, "--unshare-all", "--unshare-user", "--uid", "65534", "--gid", "65534", "--cap-drop", "ALL"),
        *("--die-with-parent", "--new-session", "--hostname", "sandbox"),
        *(*binds, "--ro-bind", str(_INSIDE), "/sandbox/inside", "--dev-bind", "/dev/null", "/dev/null"),
        *("--size", str(FOLDER_BYTES), "--tmpfs", "/tmp", "--remount-ro", "/", "--chdir", "/tmp"),
        *(*inner, "/sandbox", json.dumps(config)),
    ]


def _readable() -> list[str]:
    """List what an interpreter needs of the file system."""
    own = [sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), sysconfig.get_config_var("LIBDIR")]
    base = [path.replace(sys.prefix, sys.base_prefix, 1) for path in own if path]
    shared = ["/lib", "/lib64", "/usr/lib", "/usr/lib64", "/etc/ld.so.cache", "/usr/share/zoneinfo"]
    return list(dict.fromkeys([*base, *shared]))
