"""Run a command as several processes under accelerate's launcher, and report how they ended in one line."""

from __future__ import annotations

import logging
import os
import signal
import tempfile
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn

from r2vpo.cli.failures import INTERRUPTED, TERMINATED, UNEXPECTED, USER_ERROR, EndOfProcess
from r2vpo.cli.launch import Launch
from r2vpo.cli.process import Report, read_reports, resume_command
from r2vpo.cli.signals import Terminated
from r2vpo.environment import PROGRAM

_LOST_THE_OTHERS = "by peer"
"""What gloo's error says in the processes that did not fail first."""


def run_processes(launch: Launch, arguments: Sequence[str], *, program: str, debug: bool) -> None:
    """Run ``r2vpo`` with these arguments in every process, and wait for the end of all.

    Args:
        launch: the processes.
        arguments: arguments of the command.
        program: how the command was called.
        debug: show what the launcher logs.

    Raises:
        EndOfProcess: a process has failed; with its line and its exit code.
        KeyboardInterrupt: Ctrl-C, or `Terminated` after SIGTERM, before there was a process to report it.
    """
    from accelerate.commands.launch import launch_command
    from torch.distributed.elastic.multiprocessing.api import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    disabled = logging.root.manager.disable
    if not debug:
        # It logs what `_raise_first` says better.
        warnings.filterwarnings("ignore", module=r"(torch|accelerate)(\..*)?$")
        logging.disable(logging.CRITICAL)
    with tempfile.TemporaryDirectory(prefix="r2vpo-launch-") as logs:
        os.environ.update(launch.environment() | {PROGRAM.name: program})
        try:
            launch_command(_launcher_arguments(launch, arguments, logs))
        except SignalException as stopped:
            for number in (signal.SIGINT, signal.SIGTERM):  # the launcher raises at each of them
                signal.signal(number, signal.SIG_IGN)
            by_sigterm = stopped.sigval == signal.SIGTERM
            code = TERMINATED if by_sigterm else INTERRUPTED
            for report in sorted(read_reports(Path(logs)), key=lambda report: report.rank):
                if report.code == code:
                    raise EndOfProcess(report.line, code) from None
            raise (Terminated if by_sigterm else KeyboardInterrupt) from None
        except ChildFailedError as failed:
            resume = resume_command(Path(logs), program)
            _raise_first(read_reports(Path(logs)), failed.failures, launch.processes, resume)
        finally:
            logging.disable(disabled)


def _launcher_arguments(launch: Launch, arguments: Sequence[str], logs: str) -> Any:
    from accelerate.commands.launch import launch_command_parser

    options = ["--config_file", str(launch.file), "--num_processes", str(launch.processes)]
    options += ["--num_machines", str(launch.machines), "--machine_rank", str(launch.machine_rank)]
    # The recipe alone decides the precision: the launcher's would replace its `bf16_autocast: false`.
    options += ["--mixed_precision", "no", "--dynamo_backend", "no", "--log_dir", logs]
    if launch.kind == "MULTI_CPU":
        options.append("--multi_gpu")  # the launcher of several processes; accelerate's own for CPUs needs MPI
    if launch.machines == 1:
        options += ["--main_process_port", "0"]
    elif launch.main_process_ip is not None:
        options += ["--main_process_ip", launch.main_process_ip]
    parsed = launch_command_parser().parse_args([*options, "-m", "r2vpo.cli.process", *arguments])
    parsed.signals_to_handle = "SIGTERM,SIGINT"
    return parsed


def _raise_first(
    reports: Sequence[Report], failures: Mapping[int, Any], processes: int, resume: str | None
) -> NoReturn:
    """Raise the failure that has caused the others.

    A process that fails takes the others along: they lose their connection to it, or the launcher ends them.
    """
    reports = sorted(
        reports,
        key=lambda report: (
            report.code in {INTERRUPTED, TERMINATED},
            _LOST_THE_OTHERS in report.line,
            report.code != USER_ERROR,
            report.when,
        ),
    )
    consequence = not reports or reports[0].code in {INTERRUPTED, TERMINATED} or _LOST_THE_OTHERS in reports[0].line
    # The launcher ends the others with SIGTERM.
    killed = sorted(
        (failure.exitcode == -signal.SIGTERM, rank) for rank, failure in failures.items() if failure.exitcode < 0
    )
    if reports and not (consequence and killed):
        raise EndOfProcess(reports[0].line, reports[0].code)
    rank = killed[0][1] if killed else next(iter(failures))
    code = failures[rank].exitcode
    how = f"was ended by {signal.Signals(-code).name}" if killed else f"ended with code {code}"
    how += ", as when memory runs out" if code == -signal.SIGKILL else ""
    how += f"; resume from the last checkpoint with: {resume}" if resume else ""
    raise EndOfProcess(f"error: process {rank} of {processes} {how}", UNEXPECTED if killed else code)
