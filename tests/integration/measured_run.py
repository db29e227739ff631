"""Run by the test of `r2vpo plan`: a small run to have everything imported, then the run whose memory is measured."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console

from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.training.progress import TrainingProgress
from r2vpo.training.run import run_training


def scattered(completion_ids: list[list[int]], **columns: Any) -> list[float]:
    """Rewards that differ within a group whatever the model writes: rows without an advantage are not kept."""
    return [float(sum(ids) % 7) for ids in completion_ids]


def high_water_mark() -> int:
    """Most bytes this program had resident. Not `getrusage`, which counts the program that started this one too."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("this system does not tell the most memory that a process had: run the test on Linux")


def train(recipe: Recipe, console: Console, runs_dir: Path) -> None:
    with TrainingProgress(recipe.trainer.max_steps, console=console) as display:
        run_training(recipe, resume=None, display=display, runs_dir=runs_dir)


def main(folder: Path, recipe: Path, small: list[str]) -> None:
    with (folder / "output.txt").open("w") as file:
        console = Console(file=file)
        train(load_recipe(recipe, small), console, folder / "small")
        before = psutil.Process().memory_info().rss
        train(load_recipe(recipe), console, folder / "runs")
    (folder / "memory.json").write_text(json.dumps({"before": before, "peak": high_water_mark()}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3:])
