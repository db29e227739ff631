"""A real PostgreSQL server from the system's package, started for a test session and removed afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MISSING = "PostgreSQL is not installed: apt-get install postgresql"


def programs() -> Path | None:
    """Return the folder with `initdb`, the newest one where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: float(path.parts[-3]))
    on_path = shutil.which("initdb")
    return found[-1].parent if found else Path(on_path).parent if on_path else None


@contextmanager
def server() -> Iterator[str]:
    """Yield the URL of a database on a server that listens on a socket in its folder only."""
    folder = programs()
    assert folder is not None, MISSING
    user = _user()
    home = Path(tempfile.mkdtemp(prefix="r2vpo-postgres-"))
    data = home / "data"
    if user is not None:
        shutil.chown(home, user)

    def run(*command: str) -> None:
        subprocess.run(command, user=user, cwd=home, check=True, capture_output=True, text=True)

    try:
        run(str(folder / "initdb"), "-D", str(data), "-U", "r2vpo", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-k {home} -c listen_addresses='' -c fsync=off"
        run(str(folder / "pg_ctl"), "-D", str(data), "-l", str(home / "log"), "-o", options, "-w", "start")
        try:
            yield f"postgresql://r2vpo@/postgres?host={home}"
        finally:
            run(str(folder / "pg_ctl"), "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _user() -> str | None:
    """Return whom the server runs as: it refuses to run as root, and its package makes a user."""
    if os.getuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
