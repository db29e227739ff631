"""Report every kind of failure of a command as one line on stderr and an exit code."""

import os
import shlex
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from r2vpo.disk import causes, disk_failure
from r2vpo.errors import UserError
from r2vpo.optional import remedy

USER_ERROR, UNEXPECTED, INTERRUPTED, TERMINATED = 2, 1, 130, 143


class Terminated(KeyboardInterrupt):
    """SIGTERM, as when a scheduler ends the process."""


@contextmanager
def ended_by_sigterm() -> Iterator[None]:
    """End as after Ctrl-C when this process gets SIGTERM; children inherit that setting and end as they did before."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    process = os.getpid()

    def handle(*_: object) -> None:
        if os.getpid() == process:
            raise Terminated
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(signal.SIGTERM, handle)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class Session:
    """What is known about the command so far, used for the line that says how to resume.

    Attributes:
        debug: print tracebacks.
        may_leave: whether `sys.exit` ends the command with its own code, as after --help; not while our own code runs,
            which a reward could otherwise end as if it had succeeded.
        arguments: the arguments of ``train`` that a resumed run needs again: the recipe and its overrides.
        run: the folder of the run, once it exists.
        evaluation: the folder of an evaluation, once it exists.
    """

    def __init__(self) -> None:
        self.debug, self.may_leave = False, True
        self.arguments: list[str] = []
        self.run: Path | None = None
        self.evaluation: Path | None = None

    def started(self, run: Path) -> None:
        """Remember the folder of the run."""
        self.run = run

    def evaluation_started(self, folder: Path) -> None:
        """Remember the folder of the evaluation."""
        self.evaluation = folder

    def resume_command(self) -> str | None:
        """Return the command that resumes, or None while a run has no checkpoint to resume from."""
        if self.evaluation is not None:
            return shlex.join(["r2vpo", "eval", "--resume", str(self.evaluation)])
        from r2vpo.config.run_directory import RunDirectory

        if self.run is None or RunDirectory(self.run).latest_checkpoint() is None:
            return None
        return shlex.join(["r2vpo", "train", *self.arguments, "--resume", str(self.run)])


def report_failure(error: BaseException, session: Session) -> int:
    """Print what went wrong and return the exit code.

    Args:
        error: what the command raised.
        session: how to resume, and whether to print tracebacks.
    """
    if session.debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        command = session.resume_command()
        what, code = ("terminated", TERMINATED) if isinstance(error, Terminated) else ("interrupted", INTERRUPTED)
        if command:
            where = "" if session.evaluation else " from the last checkpoint"
            _say(f"{what}; resume{where} with: {command}")
        else:
            _say(what + ("; no checkpoint was written yet" if session.run else ""))
        return code
    if isinstance(error, UserError):
        _say(f"error: {error}")
        return USER_ERROR
    failed = disk_failure(error)
    if failed is not None:
        command = session.resume_command()
        after = f"{failed.remedy} and resume with: {command}" if command else f"{failed.remedy} and start again"
        place = failed.path or session.run or session.evaluation or Path.cwd()
        _say(f"error: {place}: {failed.what}; nothing that was saved is lost: {after}")
        return USER_ERROR
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        _say(f"error: {what}")
        return USER_ERROR
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("r2vpo"):
        _say(f"error: {error.name} is not installed: {remedy(error.name)}")
        return USER_ERROR
    if any(isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError" for cause in causes(error)):
        _say(
            f"error: out of memory ({error or type(error).__name__}): raise trainer.micro_batches, lower "
            "rollout.rows_per_batch or rollout.max_new_tokens, or take a smaller model (see `r2vpo plan`)"
        )
        return USER_ERROR
    how = "the traceback above" if session.debug else "the traceback that --debug prints"
    _say(
        f"error: unexpected {type(error).__name__}: {error}: this is a defect of r2vpo, please report it with the "
        f"command, {how} and what `r2vpo doctor` prints"
    )
    return UNEXPECTED


def _say(text: str) -> None:
    """Print one line, whatever the message of an external error looks like."""
    print("r2vpo: " + " ".join(text.split()), file=sys.stderr, flush=True)


def quiet_exit_on_closed_pipe() -> int:
    """Ignore a closed pipe, as in ``r2vpo recipes | head``."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return UNEXPECTED
