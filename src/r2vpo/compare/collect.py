"""Turn the folder of a finished run into the one record that is kept of it."""

import functools
import os
import platform
import statistics
import subprocess
from collections.abc import Iterable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import r2vpo
from r2vpo.config.records import Record
from r2vpo.config.run_directory import RunDirectory

_PACKAGES = ("r2vpo", "torch", "transformers", "trl", "numpy")
COURSE = ("decision_variance", "ratio_variance", "dual", "entropy", "step_scale", "reward")


def collect(run: RunDirectory, *, seconds: float, threads: int, diverged: str | None = None) -> Record:
    """Return everything that tables and figures need from a run.

    Args:
        run: its folder.
        seconds: wall time of the cell, including loading.
        threads: CPU threads that it had.
        diverged: the message with which a run with non-finite weights ended.
    """
    summary = run.read_summary() or {}
    metrics = run.read_metrics()
    last = metrics[-1] if metrics else {}
    return {
        "status": "finished",
        "diverged": diverged,
        "learning_rate": run.recipe().trainer.learning_rate,
        "evaluations": [_evaluation(record) for record in run.read_evaluations()],
        "course": course(metrics),
        "optimizer_steps": last.get("step", 0),
        "rollouts_generated": last.get("rollouts_generated", 0),
        "rollouts_reused": last.get("rollouts_reused", 0),
        "non_finite_steps": last.get("non_finite_steps", 0),
        "wall_seconds": max(seconds, summary.get("wall_seconds", 0.0)),
        "seconds_training": last.get("seconds_training"),
        "seconds_generating": last.get("seconds_generating"),
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "commit": commit(),
        "machine": {"platform": platform.platform(), "cpu": cpu_name(), "cores": os.cpu_count(), "threads": threads},
        "recipe": run.recipe().model_dump(mode="json"),
    }


def course(metrics: Iterable[Record]) -> dict[str, list[Any]]:
    """Return the metrics by round: V_d, V, lambda and the scale at the round's last step, and means of the others.

    Args:
        metrics: the records of the optimizer steps, in order.

    Returns:
        Columns of equal length; ``staleness`` is the mean age, in policy versions, of the rows trained on.
    """
    rounds: dict[int, list[Record]] = {}
    for record in metrics:
        rounds.setdefault(int(record.get("round") or 0), []).append(record)
    columns: dict[str, list[Any]] = {"round": list(rounds), "rollouts": [], "staleness": []}
    columns |= {name: [] for name in COURSE}
    before: list[float] = []
    for steps in rounds.values():
        last = steps[-1]
        columns["rollouts"].append(last.get("rollouts_generated"))
        for name in ("decision_variance", "ratio_variance", "dual", "step_scale"):
            columns[name].append(_short(last.get(name)))
        for name in ("entropy", "reward"):
            known = [record[name] for record in steps if record.get(name) is not None]
            columns[name].append(_short(statistics.fmean(known)) if known else None)
        rows = [float(number or 0) for number in last.get("staleness_rows") or []]
        new = [now - then for now, then in zip(rows, before or [0.0] * len(rows), strict=True)]
        ages = sum(age * number for age, number in enumerate(new))
        columns["staleness"].append(_short(ages / sum(new)) if sum(new) > 0 else None)
        before = rows
    return columns


@functools.cache
def commit() -> str | None:
    """Return the commit of the checkout of this process, with a plus if its source has changes; None without one."""
    folder = Path(r2vpo.__file__).resolve().parent
    try:
        head = _git(folder, "rev-parse", "--short=12", "HEAD")
        tracked = _git(folder, "ls-files", "__init__.py")
        changed = _git(folder, "status", "--porcelain", "--", ".")
    except (OSError, subprocess.SubprocessError):
        return None
    return (head + ("+" if changed else "")) if tracked else None


def cpu_name() -> str:
    """Return the processor's name, as the system reports it."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _evaluation(record: Record) -> Record:
    return {
        "step": record["step"],
        "rollouts": record["rollouts_generated"],
        "seconds": _short(record["seconds"]),
        "accuracy": record["accuracy"]["value"],
        "by_difficulty": {name: part["value"] for name, part in record["by_difficulty"].items()},
    }


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.5g}")
