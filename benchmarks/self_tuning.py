"""Does step control find the learning rate? The quickstart recipe from 0.2 to 20 times its rate.

    .venv/bin/python benchmarks/self_tuning.py              # 30 runs of full length, two at a time with one thread each
    .venv/bin/python benchmarks/self_tuning.py --steps 32   # a quarter of it

Restartable: a finished cell is kept in the results file, one for each length, and never run again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
FACTORS = (0.2, 1.0, 5.0, 20.0)
LOST = 3
"""Seeds without control: enough to see that a model is lost."""


def cells(seeds: int) -> list[dict[str, Any]]:
    """Seed by seed, every rate with step control; then, from the largest down, those above the recipe's without."""
    with_control = [(True, factor, seed) for seed in range(1, seeds + 1) for factor in FACTORS]
    without = [(False, factor, seed) for seed in range(1, min(seeds, LOST) + 1) for factor in reversed(FACTORS[2:])]
    return [{"control": control, "factor": factor, "seed": seed} for control, factor, seed in with_control + without]


def run(cell: dict[str, Any], rate: float, threads: int, steps: int) -> dict[str, Any]:
    """Train one cell through the command line; its summary."""
    with tempfile.TemporaryDirectory() as folder:
        settings = [
            f"trainer.learning_rate={rate * cell['factor']!r}",
            f"step_control.enabled={str(cell['control']).lower()}",
            f"seed={cell['seed']}",
            "evaluation.every_rounds=0",
            "trainer.save_steps=100000",
            f"trainer.max_steps={steps}",
            f"trainer.threads={threads}",
        ]
        command = [
            sys.executable,
            "-m",
            "r2vpo.cli.main",
            "train",
            "quickstart",
            "--runs-dir",
            folder,
            "--set",
            *settings,
        ]
        environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
        done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        runs = list(Path(folder).glob("*/summary.json"))
        if done.returncode or not runs:
            return cell | {"error": done.stderr.strip()[-300:]}
        summary = json.loads(runs[0].read_text())
        metrics = [json.loads(line) for line in (runs[0].parent / "metrics.jsonl").read_text().splitlines()]
    late = metrics[len(metrics) // 2 :]
    scale = statistics.geometric_mean([record["step_scale"] for record in late])
    return cell | {
        "before": summary["accuracy_before"]["value"],
        "after": summary["accuracy_after"]["value"],
        "n": summary["accuracy_after"]["n"],
        "rate_found": rate * cell["factor"] * scale,
        # A model that is lost answers nothing that has an advantage, and no V is above 0 any more.
        "variance": statistics.median([r["ratio_variance"] for r in late if r["ratio_variance"]] or [0.0]),
        "wall_seconds": summary["wall_seconds"],
    }


def table(results: list[dict[str, Any]]) -> str:
    """Mean accuracy over seeds with its range, as Markdown."""
    lines = [
        "| started at | step control | accuracy after, mean (each seed) | rate in the second half | median V |",
        "|---|---|---|---|---|",
    ]
    for control in (True, False):
        for factor in FACTORS:
            rows = [r for r in results if r["control"] == control and r["factor"] == factor and "after" in r]
            if not rows:
                continue
            each = ", ".join(f"{r['after']:.3f}" for r in sorted(rows, key=lambda r: r["seed"]))
            mean = statistics.mean(r["after"] for r in rows)
            rate = statistics.geometric_mean(r["rate_found"] for r in rows)
            spread = statistics.median(r["variance"] for r in rows)
            lines.append(
                f"| {factor:g} x | {'on' if control else 'off'} | {mean:.3f} ({each}) | {rate:.1e} | {spread:.3f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """Run what is missing, keep it, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--steps", type=int, help="optimizer steps of a run; those of the recipe if not given")
    parser.add_argument("--threads", type=int, default=1, help="threads of a job")
    arguments = parser.parse_args()
    trainer = yaml.safe_load((ROOT / "recipes" / "train" / "quickstart.yaml").read_text())["trainer"]
    rate, steps = float(trainer["learning_rate"]), arguments.steps or trainer["max_steps"]
    path = RESULTS / f"self_tuning_{steps}.json"
    known = json.loads(path.read_text())["cells"] if path.exists() else []
    done = {(c["control"], c["factor"], c["seed"]) for c in known if "after" in c}
    known = [c for c in known if "after" in c]
    missing = [c for c in cells(arguments.seeds) if (c["control"], c["factor"], c["seed"]) not in done]

    def finish(cell: dict[str, Any]) -> None:
        result = run(cell, rate, arguments.threads, steps)
        known.append(result)
        report = {
            "recipe": "quickstart",
            "learning_rate": rate,
            "steps": steps,
            "machine": {
                "platform": platform.platform(),
                "cpus": os.cpu_count(),
                "threads_a_run": arguments.threads,
            },
            "versions": {name: version(name) for name in ("r2vpo", "torch", "transformers", "trl")},
            "cells": sorted(known, key=lambda c: (not c["control"], c["factor"], c["seed"])),
        }
        RESULTS.mkdir(exist_ok=True)
        path.write_text(json.dumps(report, indent=1) + "\n")
        print(result, flush=True)

    with ThreadPoolExecutor(arguments.jobs) as pool:
        list(pool.map(finish, missing))
    print(table(known))


if __name__ == "__main__":
    main()
