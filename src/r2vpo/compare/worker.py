"""Worker process that runs cells one after the other: ``python -m r2vpo.compare.worker``, controlled by JSON lines.

Importing torch and trl takes longer than a small cell, so a worker is reused. It reads tasks from its standard input
and ends when that closes, even in the middle of a cell: no process is left to receive the result, and the next call
resumes from the checkpoint. Answers, one line per task, go to its original standard output; output of libraries goes to
standard error.
"""

import gc
import json
import os
import queue
import re
import shutil
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from rich.console import Console

from r2vpo.compare.collect import collect
from r2vpo.compare.control.schema import ControlRecipe
from r2vpo.compare.days import run_days
from r2vpo.compare.preference_measures import measure_preferences
from r2vpo.config.recipe import Recipe
from r2vpo.config.records import Record
from r2vpo.config.resumption import require_checkpoint
from r2vpo.config.run_directory import RunDirectory, step_of
from r2vpo.config.run_state import problems
from r2vpo.disk import disk_failure
from r2vpo.errors import UserError
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.run import run_training

# part of the sampler's error if the weights are no longer finite
_DIVERGED = "the weights have diverged"
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")
_FORMAT = warnings.formatwarning


def main() -> None:
    """Answer tasks until the standard input ends."""
    warnings.formatwarning = plain_warning
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8", buffering=1)
    os.dup2(2, 1)
    tasks: queue.Queue[dict[str, Any]] = queue.Queue()
    threading.Thread(target=_read, args=(tasks,), daemon=True).start()
    while True:
        answers.write(_answer(tasks.get()) + "\n")
        gc.collect()


def plain_warning(
    message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
) -> str:
    """Format a warning for the log without the colours of a terminal, which gymnasium puts into its text.

    Args:
        message: the warning.
        category: its class.
        filename: where it was raised.
        lineno: where it was raised.
        line: the source line; None reads it from the file.
    """
    return _FORMAT(_COLOUR.sub("", str(message)), category, filename, lineno, line)


def _answer(task: dict[str, Any]) -> str:
    """Run a cell; return its record, and whether it failed unexpectedly, as JSON."""
    try:
        record = _record(task)
        return json.dumps({"record": record, "unexpected": False}, allow_nan=False)
    except Exception as error:
        traceback.print_exc()
        known, text = _told(error, task["folder"])
        record = {"status": "failed", "reason": " ".join(text.split())}
        return json.dumps({"record": record, "unexpected": not known})


def _record(task: dict[str, Any]) -> Record:
    if "control" in task:
        from r2vpo.compare.control.learning import run_control

        return run_control(ControlRecipe.model_validate(task["control"]))
    recipes = [Recipe.model_validate(one) for one in task["recipes"]]
    return run_cell(recipes, Path(task["folder"]), preferences=task["preferences"])


def _told(error: Exception, folder: str) -> tuple[bool, str]:
    """Return whether an error is of an expected kind, and its text."""
    failed = disk_failure(error)
    if failed is not None:
        return True, f"{failed.path or folder}: {failed.what}: {failed.remedy}"
    if isinstance(error, OSError) and error.filename and error.strerror:
        return True, f"{error.filename}: {error.strerror}"
    known = isinstance(error, UserError | OSError)
    return known, str(error) if known else f"{type(error).__name__}: {error}"


def run_cell(recipes: Sequence[Recipe], folder: Path, *, preferences: bool = False) -> Record:
    """Run a cell, or resume it from an earlier call.

    Args:
        recipes: the cell's recipe, or one for each of its days.
        folder: folder in which its runs' folders are created.
        preferences: measure the trained model against its start; not for days.

    Returns:
        The cell's record. A run whose weights are no longer finite has one too: divergence is its result.
    """
    if len(recipes) == 1:
        run, record = _run(recipes[0], folder)
        if preferences:
            record["preferences"] = None if record["diverged"] else measure_preferences(run)
        return record
    return run_days(recipes, folder, _run)


def _run(recipe: Recipe, folder: Path, before_new: Callable[[], None] = lambda: None) -> tuple[RunDirectory, Record]:
    started = time.monotonic()
    threads = recipe.trainer.threads or os.cpu_count() or 1
    run, diverged = _left_over(folder), None
    if run is None or run.read_summary() is None:
        folder.mkdir(parents=True, exist_ok=True)
        if run is None:
            before_new()
        try:
            console = Console(file=sys.stderr, force_terminal=False)
            with TrainingProgress(recipe.trainer.max_steps, console=console) as display:
                resume = run.path if run is not None else None
                path = run_training(recipe, resume=resume, display=display, runs_dir=folder)
        except ValueError as error:
            run = _newest(folder)
            if _DIVERGED not in str(error) or run is None:
                raise
            diverged = str(error)
        else:
            run = RunDirectory(path)
    return run, collect(run, seconds=time.monotonic() - started, threads=threads, diverged=diverged)


def _left_over(folder: Path) -> RunDirectory | None:
    """Return a usable run of an earlier call: a finished one, or one with a checkpoint, with all of its records.

    Other remains are removed: the cell runs again, with the same numbers.
    """
    run = _newest(folder)
    if run is not None and run.summary.is_file() and not problems(run, contents=False):
        return run
    if run is not None and not run.summary.is_file() and run.latest_checkpoint() is not None:
        with suppress(UserError, OSError):
            run.check_records(step_of(require_checkpoint(run.path)))
            return run
    shutil.rmtree(folder, ignore_errors=True)
    return None


def _newest(folder: Path) -> RunDirectory | None:
    runs = sorted(path.parent for path in folder.glob("*/config.yaml"))
    return RunDirectory(runs[-1]) if runs else None


def _read(tasks: "queue.Queue[dict[str, Any]]") -> None:
    for line in sys.stdin:
        tasks.put(json.loads(line))
    os._exit(0)


if __name__ == "__main__":
    main()
