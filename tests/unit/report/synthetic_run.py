"""A run directory with invented numbers that look like those of a run, for tests of the report."""

import math
import random
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import Recipe
from r2vpo.config.records import write_records
from r2vpo.config.run_directory import RunDirectory, create_run
from r2vpo.core.radius import DELTA

STEPS_PER_ROUND, FRESH_ROWS, VERSIONS = 4, 128, 5


def synthetic_recipe(**changes: Any) -> Recipe:
    """A recipe with two difficulties."""
    return Recipe.model_validate(
        {
            "name": "synthetic",
            "seed": 3,
            "data": {
                "source": "reasoning_gym",
                "mixture": [
                    {"family": "chain_sum", "difficulty": "one digit", "params": {"max_digits": 1}},
                    {"family": "chain_sum", "difficulty": "two digits", "params": {"max_digits": 2}},
                ],
            },
            "trainer": {"max_steps": 160, "learning_rate": 2e-5},
            "rollout": {"stop": ["\n"]},
        }
        | changes
    )


def accuracy(value: float, n: int = 256) -> dict[str, Any]:
    """An accuracy with a rough interval."""
    half = 1.96 * math.sqrt(max(value * (1 - value), 1e-4) / n)
    return {"value": value, "low": max(0.0, value - half), "high": min(1.0, value + half), "n": n}


def metrics_record(step: int, generator: random.Random, recipe: Recipe) -> dict[str, Any]:
    """The record of one step: only steps that generated have a reward, and V_d and V are 0 at a round's first step."""
    progress = step / recipe.trainer.max_steps
    rounds = (step - 1) // STEPS_PER_ROUND + 1
    fresh = rounds * FRESH_ROWS
    reused = max(0, rounds - 1) * FRESH_ROWS
    first = step % STEPS_PER_ROUND == 1
    target = DELTA * FRESH_ROWS * (0.8 - 0.5 * progress)
    moved = 0.0 if first else min(1, step / 6) * math.exp(generator.gauss(0, 0.5))
    scale = 0.05 * min(2.0 ** min(step, 10), 24) * math.exp(0.1 * generator.gauss(0, 1))
    return {
        "step": step,
        "round": rounds - 1,
        "seconds": 1.6 * step + 12,
        "loss": generator.gauss(0, 0.05),
        "grad_norm": 1.0,
        "learning_rate": 2e-5 * scale,
        "step_scale": scale,
        "reward": 0.35 + 0.5 * (1 - math.exp(-4 * progress)) + generator.gauss(0, 0.04) if first else None,
        "reward_std": 0.45,
        "reward_std_within": 0.3 + generator.gauss(0, 0.02),
        "reward_std_between": 0.33,
        "signal": 0.6 - 0.3 * progress,
        "completion_length": 5.5 + generator.gauss(0, 0.3),
        "completion_length_max": 6.0,
        "completion_truncated": 0.2 * math.exp(-3 * progress),
        "kl": 0.017 * moved,
        "sign_flip_fraction": 0.05 * generator.random(),
        "clip_fraction": 0.1 * generator.random(),
        "held_out_alignment": 0.6 - 0.4 * progress,
        "rollouts_used_again": round(0.7 * reused),
        "tokens_generated": 6 * fresh,
        "decision_variance": target * moved,
        "decision_variance_target": target,
        "ratio_variance": 0.035 * moved,
        "dual": 2.5 * math.exp(-2.2 * progress) + 0.3 + generator.gauss(0, 0.03),
        "effective_sample_size": 0.97 - 0.06 * generator.random(),
        "entropy": 0.9 * math.exp(-1.6 * progress) + 0.08 + generator.gauss(0, 0.015),
        "rollouts_generated": fresh,
        "rollouts_reused": reused,
        "staleness_rows": [fresh, *(round(reused * share) for share in (0.34, 0.25, 0.18, 0.13, 0.10))],
        "effective_sample_size_by_staleness": [0.99, 0.95, 0.92, 0.0 if step < 20 else 0.9, 0.87, 0.85],
        "seconds_generating": 0.55 * step,
        "seconds_training": 0.85 * step,
        "tokens_per_second": 320.0,
    } | (_stored(progress) if recipe.replay.from_ is not None else {})


def _stored(progress: float) -> dict[str, Any]:
    """What a run that draws rollouts of other runs logs besides."""
    left_out = round(20 * progress)
    return {
        "stored_rows": FRESH_ROWS,
        "stored_share": 0.95 - 0.8 * progress,
        "stored_versions": 40,
        "stored_versions_left_out": left_out,
    }


def make_run(folder: Path, *, steps: int = 160, finished: bool = True, recipe: Recipe | None = None) -> RunDirectory:
    """Write the files of a run.

    Args:
        folder: where runs are kept.
        steps: records to write.
        finished: write what a complete run has: evaluations, completions after, the summary.
        recipe: another recipe.
    """
    recipe = recipe or synthetic_recipe()
    generator = random.Random(0)
    run = create_run(recipe, folder)
    for step in range(1, steps + 1):
        run.append_metrics(metrics_record(step, generator, recipe))
    for step in range(0, steps + 1, 32) if finished else ():
        gain = 1 - math.exp(-4 * step / recipe.trainer.max_steps)
        easy, hard = 0.55 + 0.43 * gain, 0.22 + 0.42 * gain
        run.append_evaluation(
            {
                "step": step,
                "completions": completions(better=step > 0),
                "correct": [number % 4 == 0 or step > 0 for number in range(256)],
                "data": {"train": "a", "held_out": "b"},
                "rollouts_generated": step // STEPS_PER_ROUND * FRESH_ROWS,
                "seconds": 1.6 * step,
                "accuracy": accuracy((easy + hard) / 2),
                "by_difficulty": {"one digit": accuracy(easy, 128), "two digits": accuracy(hard, 128)},
                "split": "held_out",
            }
        )
    if finished:
        run.write_summary(summary_of(run, recipe))
    return run


def long_run(folder: Path, *, steps: int = 5000, problems: int = 200, every: int = 64) -> RunDirectory:
    """Write the files of a long run, whose completions are 120 random words: they compress badly."""
    generator = random.Random(1)
    recipe = synthetic_recipe(trainer={"max_steps": steps})
    run = make_run(folder, steps=0, finished=False, recipe=recipe)
    write_records(run.metrics, [metrics_record(step, generator, recipe) for step in range(1, steps + 1)])
    words = [f"w{generator.randrange(36**3):x}" for _ in range(4000)]
    evaluations = []
    for step in range(0, steps + 1, every):
        right = [generator.random() < 0.2 + 0.7 * step / steps for _ in range(problems)]
        evaluations.append(
            {
                "step": step,
                "rollouts_generated": step // STEPS_PER_ROUND * FRESH_ROWS,
                "accuracy": accuracy(sum(right) / problems, problems),
                "by_difficulty": {"one digit": accuracy(0.5), "two digits": accuracy(0.4)},
                "correct": right,
                "data": {"train": "a", "held_out": "b"},
                "completions": [
                    {
                        "prompt": f"Question: what is {number} times 17?",
                        "completion": " ".join(generator.choices(words, k=120)),
                        "answer": str(17 * number),
                        "correct": right[number],
                        "score": float(right[number]),
                        "difficulty": "one digit",
                        "tokens": 120,
                        "finished": True,
                    }
                    for number in range(problems)
                ],
            }
        )
    write_records(run.evaluations, evaluations)
    return run


def completions(*, better: bool) -> list[dict[str, Any]]:
    shots = "\n\n".join(f"Question: {n} + {n + 1} = ?\nAnswer: {2 * n + 1}" for n in range(3))
    written = []
    for number in range(4):
        answer = str(2 * number + 30)
        correct = better or number == 0
        written.append(
            {
                "prompt": f"{shots}\n\nQuestion: {number + 14} + {number + 16} = ?\nAnswer:",
                "completion": f" {answer}" if correct else " The answer is 4 because <b>14</b> & 16",
                "answer": answer,
                "correct": correct,
                "difficulty": "two digits" if number else "one digit",
                "score": float(correct),
                "tokens": 3 if correct else 9,
                "finished": correct,
            }
        )
    return written


def summary_of(run: RunDirectory, recipe: Recipe) -> dict[str, Any]:
    """The summary that goes with the records."""
    evaluations, last = run.read_evaluations(), run.read_metrics()[-1]
    return {
        "accuracy_before": evaluations[0]["accuracy"],
        "accuracy_after": evaluations[-1]["accuracy"],
        "problems": {"train": 224, "held_out": 204, "left_out": {}, "overlap": None},
        "accuracy_by_difficulty": evaluations[-1]["by_difficulty"],
        "accuracy_gain": {"value": 0.417, "low": 0.35, "high": 0.48, "n": 256},
        "rollouts_generated": last["rollouts_generated"],
        "rollouts_reused": last["rollouts_reused"],
        "optimizer_steps": last["step"],
        "rounds_without_signal": 0,
        "wall_seconds": last["seconds"] + 20,
        "seconds_generating": last["seconds_generating"],
        "seconds_training": last["seconds_training"],
        "peak_memory_bytes": 2_310_000_000,
        "seed": recipe.seed,
        "versions": {"r2vpo": "0.1.0", "torch": "2.13.0"},
        "machine": {"platform": "Linux", "cpus": 2, "threads": 1},
    }
