"""One of the processes that ``r2vpo train --accelerate`` starts: shows output if it is the first, and reports failure.

The command that has started it prints one line for all of them (`r2vpo.cli.processes`).
"""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.cli.main import main, program
from r2vpo.environment import PROGRAM, RANK

FILE = "TORCHELASTIC_ERROR_FILE"
"""Variable in which torch's launcher names the file for the error of a process."""
SECONDS_TO_END = 10.0
_RUN = "run.json"
"""File beside that of the error in which each process notes its run, because one that is killed reports nothing."""


@dataclass(frozen=True)
class Report:
    """How a process has failed.

    Attributes:
        rank: its number among all processes.
        code: exit code.
        line: what it would have printed by itself.
        when: seconds since the epoch.
    """

    rank: int
    code: int
    line: str
    when: float


def write_report(report: Report) -> None:
    """Write the report where torch's launcher looks for it, in its layout."""
    told = {"message": {"message": report.line, "extraInfo": asdict(report) | {"timestamp": int(report.when)}}}
    Path(os.environ[FILE]).write_text(json.dumps(told))


def read_reports(folder: Path) -> list[Report]:
    """Read what the processes have written below the launcher's folder."""
    found = []
    for file in folder.rglob("error.json"):
        told = json.loads(file.read_text())["message"]["extraInfo"]
        del told["timestamp"]
        found.append(Report(**told))
    return found


def resume_command(folder: Path, program: str) -> str | None:
    """Return the command that resumes the run of which the processes have written below the launcher's folder.

    Args:
        folder: it.
        program: how the command was called.

    Returns:
        The command; None if no run had begun, or while it has no checkpoint.
    """
    file = next(folder.rglob(_RUN), None)
    if file is None:
        return None
    noted, session = json.loads(file.read_text()), Session(program)
    session.run, session.arguments = Path(noted["run"]), noted["arguments"]
    return session.resume_command()


class _Launched(Session):
    """A session that also notes its run for the command that has started it."""

    def started(self, run: Path) -> None:
        """See `Session.started`."""
        super().started(run)
        note = Path(os.environ[FILE]).with_name(_RUN)
        unfinished = note.with_suffix(".unfinished")
        unfinished.write_text(json.dumps({"run": str(run), "arguments": self.arguments}))
        os.replace(unfinished, note)


def process() -> int:
    """Run the command of this process's arguments.

    Returns:
        Exit code, as `r2vpo.cli.main.main`.
    """
    rank = int(os.environ[RANK.name])
    if rank and "--debug" not in sys.argv:
        nothing = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nothing, 1)
        os.dup2(nothing, 2)
    threading.Thread(target=_end_with, args=(os.getppid(),), daemon=True).start()
    lines: list[str] = []
    session = _Launched(os.environ.get(PROGRAM.name, PROGRAM.default), say=lines.append, launched=True)

    def run(session: Session) -> int:
        code = main(session=session)
        if code:
            write_report(Report(rank=rank, code=code, line=" ".join(lines), when=time.time()))
        return code

    return program(session, run)


def _end_with(parent: int) -> None:
    """End this process when the command that has started it is gone, so that nothing stays on the devices."""
    while os.getppid() == parent:
        time.sleep(1.0)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(SECONDS_TO_END)
    os._exit(1)


if __name__ == "__main__":
    sys.exit(process())
