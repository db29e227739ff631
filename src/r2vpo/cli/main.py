"""The ``r2vpo`` command; its commands are in `r2vpo.cli.arguments`."""

import io
import os
import sys
import threading
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from typing import Any

from r2vpo.cli.arguments import build_parser
from r2vpo.cli.failures import Session, called_as, report_failure
from r2vpo.cli.logs import log_from
from r2vpo.cli.output import drop_unwritable, name_outputs
from r2vpo.cli.signals import EndBySignals, acknowledged
from r2vpo.disk import disk_failure

ENVIRONMENT = {"HF_HUB_DISABLE_TELEMETRY": "1", "TOKENIZERS_PARALLELISM": "false"}

SECONDS_OF_THREADS = 10.0
"""How long threads that are left may go on when the command is done, as one that uploads something."""


def main(argv: Sequence[str] | None = None, *, session: Session | None = None) -> int:
    """Run one command.

    Args:
        argv: arguments without the program's name; None uses those of the process.
        session: what is known about the command so far; None for nothing.

    Returns:
        Exit code: 0, or the command's own; 2 for what the user can fix; 130 after Ctrl-C; 143 after SIGTERM; 1 for
        everything else.
    """
    session = session or Session()
    session.command = list(sys.argv[1:] if argv is None else argv)
    try:
        with acknowledged(session.stopping):
            arguments = build_parser(session.program).parse_args(argv)
            session.debug, session.may_leave = arguments.debug, False
            prepare_environment(debug=arguments.debug, log_level=arguments.log_level)
            module, _, function = arguments.command.partition(":")
            code = getattr(import_module(f"r2vpo.cli.{module}"), function)(arguments, session)
            sys.stdout.flush()
    except SystemExit as error:
        if not session.may_leave:
            return report_failure(error, session)
        try:
            print(end="", flush=True)
        except OSError as failed:
            return report_failure(failed, session)
        raise
    except BaseException as error:
        return report_failure(error, session)
    return code or 0


def program(session: Session | None = None, run: Callable[[Session], int] | None = None) -> int:
    """The program `r2vpo`: `main`, with signals, in a process that ends even if a library has left a thread at work.

    Args:
        session: what is known about the command so far; None for how it was called.
        run: what to run in place of `main`.

    Returns:
        Exit code, as `main`.
    """
    session = session or Session(called_as(sys.orig_argv, sys.argv))
    name_outputs()
    signals = EndBySignals(lambda error: report_failure(error, session), at_once=lambda: session.loads)
    try:
        code = run(session) if run is not None else main(session=session)
    except KeyboardInterrupt as error:  # as `main` returns
        code = report_failure(error, session)
    finally:
        drop_unwritable()
    signals.ended(code)
    # Python waits for such threads without end. This one, a daemon, is not waited for.
    threading.Thread(target=_end, args=(code,), daemon=True).start()
    return code


def _end(code: int) -> None:
    time.sleep(SECONDS_OF_THREADS)
    left = [one.name for one in threading.enumerate() if not one.daemon and one is not threading.main_thread()]
    if left:
        with suppress(Exception):  # a stream may be closed, or have no reader
            print(f"r2vpo: warning: a thread is still at work and ends here: {', '.join(left)}", file=sys.stderr)
            sys.stderr.flush()
            sys.stdout.flush()
        os._exit(code)


def prepare_environment(*, debug: bool, log_level: str | None = None) -> None:
    """Set the libraries' settings that are read at import: no telemetry, no unnecessary output.

    Args:
        debug: leave what libraries print as it is.
        log_level: the least level of what is logged; None for the usual ones.
    """
    os.environ.update(ENVIRONMENT)
    # Closed by who started us (`>&-`).
    sys.stdout = open(os.devnull, "w") if sys.stdout is None else sys.stdout
    sys.stderr = open(os.devnull, "w") if sys.stderr is None else sys.stderr
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a model or a data set may write any character
    warnings.showwarning = _show_warning
    if not debug:
        threading.excepthook = _show_thread_failure
    log_from(log_level, debug=debug)


def _show_warning(message: Warning | str, category: type[Warning], filename: str, *rest: Any, **named: Any) -> None:
    print(f"r2vpo: warning: {' '.join(str(message).split())}", file=sys.stderr)


def _show_thread_failure(failure: threading.ExceptHookArgs) -> None:
    """One line for what a library's thread raised, and none for a full disk, which the main thread meets as well."""
    if failure.exc_value is None or disk_failure(failure.exc_value) is not None:
        return
    name = failure.thread.name if failure.thread is not None else "a thread"
    text = f"{name} ended with {type(failure.exc_value).__name__}: {failure.exc_value}"
    print(f"r2vpo: warning: {' '.join(text.split())}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(program())
