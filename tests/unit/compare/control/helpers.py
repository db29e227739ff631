"""A small experiment on control tasks, and records with invented numbers that are not results."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.compare.control.cells import ControlCell, ControlPlan
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.store import Store

EXPERIMENT: dict[str, Any] = {
    "kind": "control",
    "name": "small",
    "set": {"n_steps": 64, "batch_size": 64, "n_epochs": 2, "learning_rate": 1e-3},
    "seeds": {"first": 10, "count": 5},
    "baseline": "ppo",
    "tasks": {
        "pendulum": {"title": "Pendulum", "steps": 512, "environment": {"name": "Pendulum-v1", "copies": 2}},
        "car": {"kind": "sparse", "steps": 256, "environment": {"name": "MountainCarContinuous-v0"}, "seeds": 2},
    },
    "methods": {
        "ppo": {"title": "PPO", "algorithm": "ppo", "set": {"clip_range": 0.1}},
        "ours": {"algorithm": "r2vpo", "set": {"delta": 0.05}},
    },
}


def plan(**changes: Any) -> ControlPlan:
    options = {
        name: changes.pop(name) for name in ("tasks", "methods", "seeds") if isinstance(changes.get(name), list | int)
    }
    return ControlPlan(ControlExperiment.model_validate(EXPERIMENT | changes), source="small.yaml", **options)


def record(cell: ControlCell, returns: Sequence[float], *, diverged: str | None = None) -> dict[str, Any]:
    steps = [round((number + 1) * cell.steps / len(returns)) for number in range(len(returns))]
    return {
        "status": "finished",
        "diverged": diverged,
        "curve": {"steps": steps, "return": list(returns)},
        "optimizer_steps": cell.steps,
        "wall_seconds": 2.0,
        "versions": {"r2vpo": "0.1.0"},
        "commit": "abc",
        "machine": {"cpu": "one", "cores": 2, "threads": 1},
        "recipe": cell.recipe.model_dump(mode="json"),
    }


def filled(folder: Path, made: ControlPlan, returns: Any) -> Store:
    """Finish every cell with the returns that a function gives for it."""
    store = Store(folder / made.experiment.name)
    for cell in made.cells():
        store.add(cell, record(cell, returns(cell)))
    return store
