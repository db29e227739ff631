"""A small experiment, and records like those of cells, with invented numbers that are not results."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from r2vpo.compare.cells import Cell, Plan, base_recipe, rollouts
from r2vpo.compare.schema import Experiment
from r2vpo.compare.store import Store

RECIPE: dict[str, Any] = {
    "name": "base",
    "data": {"source": "reasoning_gym", "mixture": [{"family": "chain_sum", "difficulty": "easy"}]},
    "rollout": {"prompts_per_round": 4, "samples_per_prompt": 4},
    "trainer": {"optimizer_steps_per_round": 2, "max_steps": 8},
}
EXPERIMENT: dict[str, Any] = {
    "name": "small",
    "recipe": RECIPE,
    "seeds": {"first": 10, "count": 3},
    "tuning": {"seeds": [1, 2], "values": [1e-4, 1e-3]},
    "target": 0.6,
    "baseline": "clip",
    "methods": {
        "clip": {"title": "Clipping | plain", "set": {"objective.name": "clip", "replay.versions": 0}},
        "ours": {},
    },
}


def experiment(**changes: Any) -> Experiment:
    return Experiment.model_validate(EXPERIMENT | changes)


def plan(made: Experiment | None = None, **options: Any) -> Plan:
    made = made or experiment()
    return Plan(made, base_recipe(made.recipe, "small.yaml"), source="small.yaml", **options)


def record(cell: Cell, accuracy: list[float], *, seconds: float = 40.0, diverged: str | None = None) -> dict[str, Any]:
    """A record with these accuracies at evenly spaced rollouts; hard problems are solved half as often."""
    budget = rollouts(cell.recipe)
    points = np.linspace(0, budget, len(accuracy)).round().astype(int).tolist()
    if diverged:
        points = [point // 2 for point in points]
    rounds = list(range(4))
    return {
        "status": "finished",
        "diverged": diverged,
        "learning_rate": cell.recipe.trainer.learning_rate,
        "evaluations": [
            {
                "step": step,
                "rollouts": rows,
                "seconds": 2.0 * step,
                "accuracy": value,
                "by_difficulty": {"easy": value, "hard": value / 2},
            }
            for step, (rows, value) in enumerate(zip(points, accuracy, strict=True))
        ],
        "course": {
            "round": rounds,
            "rollouts": [budget * (i + 1) / 4 for i in rounds],
            "staleness": [0.0, None, 1.0, 1.5],
            "decision_variance": [0.0, 0.3, 0.6, 0.5],
            "ratio_variance": [0.0, 0.02, 0.04, 0.04],
            "dual": [2.5, 1.0, 0.5, 0.4],
            "entropy": [1.0, 0.8, 0.7, 0.65],
            "step_scale": [0.05, 0.5, 1.0, 1.1],
            "reward": [0.3, 0.4, 0.5, 0.6],
        },
        "optimizer_steps": cell.recipe.trainer.max_steps,
        "rounds_without_signal": 0,
        "rollouts_generated": budget,
        "rollouts_reused": 0,
        "non_finite_steps": 0,
        "wall_seconds": seconds,
        "seconds_training": 20.0,
        "seconds_generating": 10.0,
        "versions": {"r2vpo": "1.2.3", "torch": "9"},
        "commit": "abcdef",
        "machine": {"platform": "p", "cpu": "Some <CPU>", "cores": 2, "threads": 1},
        "recipe": cell.recipe.model_dump(mode="json"),
    }


def curve(cell: Cell) -> list[float]:
    """Ours learns faster and reaches a higher accuracy than clipping; 1e-3 is the better rate; seeds differ."""
    best = 0.9 if cell.method == "ours" else 0.6
    best -= 0.1 * (cell.recipe.trainer.learning_rate < 5e-4) + 0.01 * (cell.seed % 3)
    return [0.2, (0.2 + best) / 2, best]


def tuned_store(made: Plan, folder: Path) -> Store:
    """A store in which the tuning is finished."""
    store = Store(folder / made.experiment.name)
    for cell in made.tuning():
        store.add(cell, record(cell, curve(cell)))
    return store


def full_store(made: Plan, folder: Path) -> Store:
    """A store in which everything is finished."""
    from r2vpo.compare.tuning import choices, tuned

    store = tuned_store(made, folder)
    for cell in made.results(tuned(choices(made, store))):
        store.add(cell, record(cell, curve(cell)))
    return store
