"""Report every kind of failure of a command as one line on stderr and an exit code."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from r2vpo.cli.output import gone
from r2vpo.cli.signals import Terminated
from r2vpo.disk import causes, disk_failure
from r2vpo.errors import UserError
from r2vpo.optional import remedy

if TYPE_CHECKING:
    from r2vpo.config.display import Display

USER_ERROR, UNEXPECTED, INTERRUPTED, TERMINATED = 2, 1, 130, 143


class EndOfProcess(Exception):
    """How the processes of a command have failed.

    Args:
        line: what to print, empty for nothing.
        code: exit code.
    """

    def __init__(self, line: str, code: int) -> None:
        super().__init__(line)
        self.line, self.code = line, code


class Session:
    """What is known about the command so far, used for the line that says how to resume.

    Args:
        program: how the program was called, for commands that are printed.

    Attributes:
        debug: print tracebacks.
        may_leave: whether `sys.exit` ends the command with its own code, as after --help; not while our own code runs,
            which a reward could otherwise end as if it had succeeded.
        arguments: the arguments of ``train`` that a resumed run needs again: the recipe and its overrides.
        run: the folder of the run, once it exists.
        evaluation: the folder of an evaluation, once it exists.
        command: all arguments of the command.
        say: prints the line that reports a failure.
        loads: whether libraries are being loaded before any work: a signal then ends the command at once.
        acknowledged: whether a line has said that the work is being stopped, and what is kept of it.
        launched: whether this is one of several processes that the command has started.
    """

    def __init__(
        self, program: str = "r2vpo", *, say: Callable[[str], None] | None = None, launched: bool = False
    ) -> None:
        self.program = program
        self.debug, self.may_leave, self.loads, self.acknowledged = False, True, False, False
        self.say, self.launched = say or _say, launched
        self.command: list[str] = []
        self.arguments: list[str] = []
        self._display: Display | None = None
        self.run: Path | None = None
        self.evaluation: Path | None = None

    def started(self, run: Path) -> None:
        """Remember the folder of the run."""
        self.run = run

    def evaluation_started(self, folder: Path) -> None:
        """Remember the folder of the evaluation."""
        self.evaluation = folder

    @contextmanager
    def showing(self, display: Display) -> Iterator[None]:
        """Context manager within which a display shows the work, so that it can also show that the work is stopped."""
        self._display = display
        yield
        self._display = None  # not after an interrupt, which another thread acknowledges a moment later

    @contextmanager
    def loading(self, display: Display) -> Iterator[None]:
        """Context manager within which torch is imported, before any work."""
        self.loads = True
        display.status("loading torch and its libraries")
        yield
        self.loads = False

    def stopping(self) -> None:
        """Show that the work is being stopped, and what is kept of it. Called from another thread than the work's."""
        display = self._display
        if display is not None and not self.loads:
            line = f"stopping: {self._kept()}"
            display.stopping(lambda: _say(line))
            self.acknowledged = True

    def restore_terminal(self) -> None:
        """Make the terminal usable again after an interrupt."""
        if self._display is not None:
            self._display.restore()

    def _kept(self) -> str:
        if self.evaluation is not None:
            return "all whole batches of answers are kept"
        from r2vpo.config.run_directory import RunDirectory, step_of

        checkpoint = None if self.run is None else RunDirectory(self.run).latest_checkpoint()
        return "no checkpoint was written yet" if checkpoint is None else f"saved up to step {step_of(checkpoint)}"

    def say_stopped(self, what: str) -> None:
        """Print that the command was stopped, and how to resume it."""
        command = self.resume_command()
        if command:
            where = "" if self.evaluation else " from the last checkpoint"
            self.say(f"{what}; resume{where} with: {command}")
        else:
            self.say(what + ("; no checkpoint was written yet" if self.run and not self.acknowledged else ""))

    def resume_command(self) -> str | None:
        """Return the command that resumes, or None while a run has no checkpoint to resume from."""
        if self.evaluation is not None:
            return f"{self.program} {shlex.join(['eval', '--resume', str(self.evaluation)])}"
        from r2vpo.config.run_directory import RunDirectory

        if self.run is None or RunDirectory(self.run).latest_checkpoint() is None:
            return None
        return f"{self.program} {shlex.join(['train', *self.arguments, '--resume', str(self.run)])}"


def called_as(whole: Sequence[str], arguments: Sequence[str]) -> str:
    """Return how the program was called, as it can be typed again: `r2vpo`, its path, or `python -m r2vpo`.

    Args:
        whole: the command line of the interpreter (`sys.orig_argv`).
        arguments: that of the program (`sys.argv`).
    """
    if "-m" in whole[: len(whole) - len(arguments) + 1]:
        place = whole.index("-m")
        return shlex.join([whole[0], *whole[place : place + 2]])
    script = arguments[0]
    if not os.path.isfile(script):
        return "r2vpo"
    found = shutil.which(Path(script).name)
    return Path(script).name if found and os.path.samefile(found, script) else shlex.quote(script)


def report_failure(error: BaseException, session: Session) -> int:
    """Print what went wrong and return the exit code.

    Args:
        error: what the command raised.
        session: how to resume, and whether to print tracebacks.
    """
    if session.debug:
        traceback.print_exception(error)
    if isinstance(error, KeyboardInterrupt):
        session.restore_terminal()
        what, code = ("terminated", TERMINATED) if isinstance(error, Terminated) else ("interrupted", INTERRUPTED)
        session.say_stopped(what)
        return code
    if gone(error):
        if session.run or session.evaluation:
            session.say_stopped("stopped, because nobody reads the output any more")
        return UNEXPECTED
    if isinstance(error, EndOfProcess):
        if error.line:
            session.say(error.line)
        return error.code
    if isinstance(error, UserError):
        session.say(f"error: {error}")
        return USER_ERROR
    failed = disk_failure(error)
    if failed is not None:
        command = session.resume_command()
        after = f"{failed.remedy} and resume with: {command}" if command else f"{failed.remedy} and start again"
        place = failed.path or session.run or session.evaluation or Path.cwd()
        session.say(f"error: {place}: {failed.what}; nothing that was saved is lost: {after}")
        return USER_ERROR
    if isinstance(error, OSError):
        what = f"{error.filename}: {error.strerror}" if error.filename and error.strerror else str(error)
        session.say(f"error: {what}")
        return USER_ERROR
    if isinstance(error, ModuleNotFoundError) and not (error.name or "").startswith("r2vpo"):
        session.say(f"error: {error.name} is not installed: {remedy(error.name)}")
        return USER_ERROR
    if any(isinstance(cause, MemoryError) or type(cause).__name__ == "OutOfMemoryError" for cause in causes(error)):
        session.say(
            f"error: out of memory ({error or type(error).__name__}): raise trainer.micro_batches, lower "
            "rollout.rows_per_batch or rollout.max_new_tokens, or take a smaller model (see `r2vpo plan`)"
        )
        return USER_ERROR
    how = "the traceback above" if session.debug else "the traceback that --debug prints"
    session.say(
        f"error: unexpected {type(error).__name__}: {error}: this is a defect of r2vpo, please report it with the "
        f"command, {how} and what `r2vpo doctor` prints"
    )
    return UNEXPECTED


def _say(text: str) -> None:
    """Print one line, whatever the message of an external error looks like; the exit code says it if that fails."""
    with suppress(OSError):
        print("r2vpo: " + " ".join(text.split()), file=sys.stderr, flush=True)
