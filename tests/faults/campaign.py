"""A small run that nothing happened to, and how another one is compared with it."""

from __future__ import annotations

import os
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from tests.faults.children import Ended, command
from tests.integration.cli import TIMES, records, weights, write_recipe

STEPS = 8
ALL = "R2VPO_FAULTS" in os.environ
"""Every fault that there is, half an hour; without it a part of them."""
SETTINGS = ("--set", "trainer.save_steps=4", "data.train_size=6", "evaluation.every_rounds=0", "report_to=[]")


class Campaign:
    """Runs of one recipe.

    Args:
        folder: gets the recipe and the runs.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.recipe = write_recipe(folder)

    def arguments(self, *more: str, steps: int = STEPS) -> tuple[str, ...]:
        """Of `r2vpo train`."""
        return ("train", str(self.recipe), *SETTINGS, f"trainer.max_steps={steps}", *more)

    @cached_property
    def whole(self) -> Path:
        """A run to its end."""
        return self._run("whole", STEPS)

    @cached_property
    def begun(self) -> Path:
        """A run to its first checkpoint."""
        return self._run("begun", 4)

    def _run(self, name: str, steps: int) -> Path:
        runs = self.folder / name
        done = command(*self.arguments("--runs-dir", str(runs), steps=steps), folder=self.folder / f"{name}-log")
        assert done.code == 0, done.err
        return next(runs.iterdir())


def same(run: Path, other: Path) -> bool:
    """Whether two runs have the same metrics, evaluations before and after, completions and weights."""
    ours, theirs = weights(run, STEPS), weights(other, STEPS)
    return _recorded(run) == _recorded(other) and all(torch.equal(ours[name], theirs[name]) for name in theirs)


def _recorded(run: Path) -> list[list[dict[str, Any]]]:
    """What a run has written, without times; one that had fewer steps at first has evaluated after those too."""
    rows = {name: records(run / f"{name}.jsonl") for name in ("metrics", "evaluations", "samples")}
    rows["evaluations"] = [row for row in rows["evaluations"] if row["step"] in (0, STEPS)]
    return [[{k: v for k, v in row.items() if k not in TIMES} for row in part] for part in rows.values()]


def one_line(ended: Ended) -> bool:
    """Whether a command said one line."""
    return ended.err.count("\n") == 1 and "error: " in ended.err
