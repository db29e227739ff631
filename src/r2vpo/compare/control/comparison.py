"""Run a comparison on control tasks, and write its report."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rich.console import Console

from r2vpo.compare.comparison import run_phases, say_cells
from r2vpo.compare.control.cells import ControlPlan
from r2vpo.compare.control.figures import control_drawings
from r2vpo.compare.control.results import load
from r2vpo.compare.control.tables import control_tables
from r2vpo.compare.report import facts_of_records, write_report
from r2vpo.compare.store import Store
from r2vpo.config.numbers import count


def run_control_comparison(plan: ControlPlan, out: Path, *, jobs: int, console: Console) -> None:
    """Run the unfinished cells.

    Args:
        plan: the cells.
        out: the folder of comparisons.
        jobs: number of cells to run at once.
        console: where progress is shown.

    Raises:
        UserError: cells failed, or another process runs the same experiment.
    """
    run_phases([("result", lambda store: plan.cells())], out / plan.experiment.name, jobs=jobs, console=console)


def describe_control(plan: ControlPlan, out: Path, *, jobs: int, console: Console) -> None:
    """Print every cell with its state and the estimated time left, without running anything."""
    say_cells(plan.cells(), Store(out / plan.experiment.name), jobs=jobs, console=console)


def build_control_report(plan: ControlPlan, out: Path) -> list[Path]:
    """Write ``report.html``, ``report.md`` and the PNGs from the finished cells."""
    store = Store(out / plan.experiment.name)
    results = load(plan, store)
    records: list[dict[str, Any]] = [run.record for run in results.runs]
    facts = [("cells", f"{count(len(records))} of {count(results.total)} finished")]
    if records:
        facts += facts_of_records(records)
    return write_report(store.folder, plan.experiment.name, facts, control_tables(results), control_drawings(results))
