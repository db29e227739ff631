"""Probe for a working isolation: a program in a sandbox tries what it must not do, and must fail."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from r2vpo.sandbox.host import Sandbox, memory_file
from r2vpo.sandbox.settings import Isolation, Settings, Unusable

SECONDS = 10.0
_ATTEMPTS = Path(__file__).parent / "attempts.py"
GAPS = {
    "reading": "read every file that you can, since this kernel has no Landlock",
    "seeing": "see which files exist, since you may not make namespaces here",
}
"""What the isolation `process` cannot prevent on every machine; anything else makes it unusable."""


class Working(NamedTuple):
    """The isolation that works here.

    Attributes:
        settings: its kind; None if none works.
        gaps: those of `GAPS` that exist.
        failed: the kinds that were tried before and failed, each with the reason.
    """

    settings: Settings | None
    gaps: tuple[str, ...]
    failed: tuple[str, ...]

    @property
    def isolation(self) -> Isolation | None:
        """The name of its kind."""
        return self.settings.isolation if self.settings else None


def first_working(wanted: Sequence[Isolation], *, memory_bytes: int, modules: Sequence[str] = ()) -> Working:
    """Try kinds of isolation in order until one works; programs may import the installed modules that are named."""
    failed: list[str] = []
    for isolation in wanted:
        for own_root in (True, False) if isolation == "process" else (True,):
            settings = Settings(isolation, memory_bytes, tuple(modules), own_root)
            try:
                gaps = probe(settings)
            except Unusable as error:
                reason = f"{isolation}: {error}"
            else:
                return Working(settings, gaps, tuple(failed))
        failed.append(reason)
    return Working(None, (), tuple(failed))


def probe(settings: Settings) -> tuple[str, ...]:
    """Start a sandbox and let a program in it try what it must not do.

    Returns:
        Those of `GAPS` that exist.

    Raises:
        Unusable: the sandbox does not start, or the program could do something else; the text says what.
    """
    if not hasattr(os, "memfd_create") or not hasattr(socket, "send_fds"):
        raise Unusable("it needs Linux")
    sandbox = Sandbox(settings)
    outside = tempfile.mkdtemp()
    (Path(outside) / "secret").touch()
    job = json.dumps({"setup": "", "programs": [_ATTEMPTS.read_text()]})
    files = [memory_file(job.encode()), memory_file(os.fsencode(outside)), memory_file()]
    try:
        report = sandbox.run("script", files, SECONDS)
        said = os.pread(files[2], 1 << 12, 0).decode(errors="replace").splitlines()
    finally:
        sandbox.close()
        shutil.rmtree(outside)
        for number in files:
            os.close(number)
    if not said or said.pop() != "end":
        raise Unusable(f"it does not let a program run to its end (status {report.status})")
    allowed = tuple(GAPS) if settings.isolation == "process" else ()
    if wrong := [what for what in said if what not in allowed]:
        raise Unusable(f"it allows a program {', '.join(wrong)}")
    return tuple(said)
