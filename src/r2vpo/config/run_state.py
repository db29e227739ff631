"""Determine from a run's folder whether it is running, finished, stopped or damaged."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from r2vpo.checkpoint_files import check_files
from r2vpo.config.folder_lock import holder
from r2vpo.config.run_directory import SUMMARY_KEYS, RunDirectory
from r2vpo.errors import UserError


@dataclass(frozen=True)
class RunState:
    """State of one run.

    Attributes:
        name: name of its folder.
        state: `running`, `finished`, `stopped` or `damaged`.
        because: which process works there, or what is damaged; otherwise empty.
        step: optimizer steps in its records.
        checkpoint: step of its last checkpoint; None without one.
        accuracy: held-out accuracy of the last evaluation, 0 to 1; None before the first.
        bytes: size of the folder.
    """

    name: str
    state: str
    because: str
    step: int
    checkpoint: int | None
    accuracy: float | None
    bytes: int


def state_of(run: RunDirectory) -> RunState:
    """Inspect a run: its records are read, but only the names and sizes of checkpoint files.

    Args:
        run: its folder.
    """
    working = holder(run.path)
    found = [] if working else problems(run, contents=False)
    finished = not found and run.summary.is_file()
    state = "running" if working else "damaged" if found else "finished" if finished else "stopped"
    metrics, evaluations = _read(run.read_metrics), _read(run.read_evaluations)
    accuracy = evaluations[-1].get("accuracy") if evaluations else None
    return RunState(
        name=run.path.name,
        state=state,
        because=working or (found[0] if found else ""),
        step=metrics[-1].get("step", 0) if metrics else 0,
        checkpoint=max(run.all_checkpoints(), default=None),
        accuracy=accuracy.get("value") if isinstance(accuracy, dict) else None,
        bytes=sum(path.stat().st_size for path in run.path.rglob("*") if path.is_file()),
    )


def problems(run: RunDirectory, *, contents: bool) -> list[str]:
    """Return what is damaged in a run's folder, one line each.

    Args:
        run: its folder.
        contents: whether to read every byte of the checkpoints and compare it with the stored digests.
    """
    last = max(*run.all_checkpoints(), _steps_done(run), 0)
    checks: list[Callable[[], Any]] = [run.recipe]
    checks += [lambda: run.check_records(last)] if last else [run.read_metrics, run.read_evaluations]
    checks += [run.check_folders, lambda: _check_summary(run), lambda: _check_end(run)]
    checks += [partial(check_files, path, contents=contents) for path in run.all_checkpoints().values()]
    found = []
    for check in checks:
        try:
            check()
        except (UserError, OSError) as error:
            found.append(" ".join(str(error).split()))
    return list(dict.fromkeys(found))


def _check_end(run: RunDirectory) -> None:
    """Refuse a finished run without its last evaluation."""
    last = _steps_done(run)
    if last and last not in {record["step"] for record in run.read_evaluations()}:
        raise UserError(f"{run.evaluations}: the evaluation after step {last} is missing: restore the file from a copy")


def _steps_done(run: RunDirectory) -> int:
    """Return the optimizer steps of a finished run, or 0 if its summary does not say."""
    try:
        steps = (run.read_summary() or {}).get("optimizer_steps")
    except (UserError, OSError):  # `_check_summary` reports it
        return 0
    return steps if type(steps) is int else 0


def _check_summary(run: RunDirectory) -> None:
    summary = run.read_summary()
    missing = [key for key in SUMMARY_KEYS if summary is not None and key not in summary]
    if missing:
        raise UserError(f"{run.summary}: {missing[0]} is missing: move it away and finish the run again with --resume")


def _read(read: Callable[[], list[dict[str, Any]]]) -> list[dict[str, Any]]:
    try:
        return read()
    except (UserError, OSError):
        return []


def runs_in(folder: Path) -> list[RunDirectory]:
    """Return the runs of a folder, oldest first.

    Raises:
        UserError: there is no such folder.
    """

    def begun(run: RunDirectory) -> float:
        return (run.config if run.config.exists() else run.path).stat().st_mtime

    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder: name the one that holds the runs with --runs-dir")
    found = [RunDirectory(path) for path in folder.iterdir() if path.is_dir()]
    return sorted((run for run in found if run.has_records()), key=begun)
