"""Run a comparison from its experiment to its report: tuning, the result, tables and figures."""

from collections.abc import Callable, Sequence
from pathlib import Path

from rich.console import Console

from r2vpo.compare.cells import Plan
from r2vpo.compare.execute import Executor
from r2vpo.compare.progress import CompareProgress, Estimator
from r2vpo.compare.store import Store
from r2vpo.compare.tuning import choices, finalists, waiting
from r2vpo.compare.work import Work
from r2vpo.config.display import say
from r2vpo.config.folder_lock import working_in
from r2vpo.config.numbers import duration
from r2vpo.errors import UserError


def run_comparison(plan: Plan, out: Path, *, jobs: int, console: Console, tuning_only: bool = False) -> None:
    """Run the unfinished cells of an experiment.

    Args:
        plan: its cells.
        out: the folder of comparisons, in which the experiment's folder is created.
        jobs: number of cells to run at once.
        console: where progress is shown.
        tuning_only: leave the result for another call.

    Raises:
        UserError: cells failed, or another process runs the same experiment.
    """
    phases: list[tuple[str, Callable[[Store], Sequence[Work]]]] = []
    if plan.experiment.tuning is not None:
        phases.append(("tuning", lambda store: plan.tuning()))
    if not tuning_only:
        phases.append(("result", lambda store: plan.results(finalists(plan, choices(plan, store)))))
    run_phases(phases, out / plan.experiment.name, jobs=jobs, console=console)


def run_phases(
    phases: Sequence[tuple[str, Callable[[Store], Sequence[Work]]]], folder: Path, *, jobs: int, console: Console
) -> None:
    """Run the unfinished cells of one phase after the other.

    Args:
        phases: the name of each, and its cells once the phases before it are finished.
        folder: the experiment's folder; created if missing.
        jobs: number of cells to run at once.
        console: where progress is shown.

    Raises:
        UserError: cells failed, or another process runs the same experiment.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except PermissionError as error:
        raise UserError(f"{folder}: {error.strerror}: choose a folder that can be written with --out") from None
    with working_in(folder, instead="choose another --out"):
        store = Store(folder)
        display = CompareProgress(console, Estimator(store.own_finished()))
        with display, Executor(store, jobs=jobs, display=display) as executor:
            for name, cells in phases:
                _run(cells(store), name, store, executor, display)
    if display.failures:
        cell, reason = display.failures[0]
        failed = len(display.failures)
        raise UserError(
            f"{folder}: {failed} {'cell' if failed == 1 else 'cells'} failed, {cell} with: {reason}; fix it and run "
            "the same command again; finished cells are kept"
        )


def describe(plan: Plan, out: Path, *, jobs: int, console: Console) -> None:
    """Print every cell with its state and the estimated time left, without running anything."""
    store = Store(out / plan.experiment.name)
    found = choices(plan, store)
    cells = [*plan.tuning(), *plan.results(finalists(plan, found))]
    later = waiting(plan, found) * len(plan.seeds) * len(plan.experiment.values)
    say_cells(cells, store, jobs=jobs, console=console, later=later)


def say_cells(cells: Sequence[Work], store: Store, *, jobs: int, console: Console, later: int = 0) -> None:
    """Print cells with their states, and the estimated time left.

    Args:
        cells: the cells.
        store: what is finished.
        jobs: number of cells to run at once.
        console: where it is printed.
        later: number of cells that are not among them, because they wait for others.
    """
    left = {cell.key: cell for cell in cells if store.finished(cell) is None}
    for cell in cells:
        state = "finished" if cell.key not in left else "failed" if store.failure(cell) else "to do"
        say(console, f"{state:<9} {cell.kind:<7} {cell.key}  {cell}")
    if later:
        say(console, f"{later} cells of the result have no recipe yet: they wait for the tuning of their methods")
    say(console, f"{sum(cell.key not in left for cell in cells)} of {len(cells) + later} cells are finished")
    seconds = Estimator(store.own_finished()).seconds(left.values())
    text = "unknown until a cell is finished" if seconds is None else f"about {duration(seconds / jobs)}"
    part = f" for the {len(left)} that have a recipe" if later else ""
    say(console, f"time left with {jobs} at once: {text}{part}")


def _run(cells: Sequence[Work], name: str, store: Store, executor: Executor, display: CompareProgress) -> None:
    store.adopt(cells)
    display.phase(name, done=len(store.records(cells)), total=len(cells))
    executor.run(cells)
