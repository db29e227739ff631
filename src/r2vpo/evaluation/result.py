"""The result of an evaluation: the content of `summary.json`, and its display in the terminal."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rich.console import Console

from r2vpo.config.display import say
from r2vpo.config.numbers import about_intervals, count, interval, percent, significant
from r2vpo.evaluation.completions import Answered
from r2vpo.evaluation.measures import lengths, measure, measure_by_difficulty
from r2vpo.evaluation.schema import EvaluationConfig

_PACKAGES = ("r2vpo", "torch", "transformers", "peft", "datasets", "reasoning-gym", "math-verify")


def summarise(config: EvaluationConfig, problems: Sequence[Answered], *, votes: bool) -> dict[str, Any]:
    """Return the content of `summary.json` without a comparison.

    Args:
        config: the requested evaluation.
        problems: all problems.
        votes: whether the reward finds answers whose majority can be counted.
    """
    samples = [sample for problem in problems for sample in problem.samples]
    return {
        "suite": config.suite.name,
        "model": config.model,
        "weights": config.weights,
        "seed": config.seed,
        "k": config.suite.sampling.k,
        "temperature": config.suite.sampling.temperature,
        "problems": len(problems),
        **measure(problems, votes=votes).to_json(),
        "by_difficulty": {
            label: found.to_json() for label, found in measure_by_difficulty(problems, votes=votes).items()
        },
        "lengths": {
            "greedy": lengths([problem.greedy for problem in problems]),
            "sampled": lengths(samples) if samples else None,
        },
        "versions": {name: version(name) for name in _PACKAGES} | {"python": platform.python_version()},
        "machine": {
            "platform": platform.platform(),
            "cpus": os.cpu_count(),
            "threads": torch.get_num_threads(),
            "device": torch.cuda.get_device_name() if config.device == "cuda" else "cpu",
        },
    }


def measures_shown(summary: Mapping[str, Any]) -> list[tuple[str, tuple[str, ...]]]:
    """Return the name and key of every measure of an evaluation: accuracy first, then pass@k by k.

    Args:
        summary: the content of `summary.json`.
    """
    k = summary["k"]
    shown: list[tuple[str, tuple[str, ...]]] = [("accuracy", ("accuracy",))]
    if summary["score"]["value"] != summary["accuracy"]["value"]:
        shown.append(("score", ("score",)))
    if summary["mean_at_k"] is not None:
        shown.append((f"mean@{k}", ("mean_at_k",)))
    # pass@1 is the mean.
    shown += [(f"pass@{size}", ("pass_at", size)) for size in summary["pass_at"] if size != "1"]
    # The majority of one sample is that sample.
    if summary["majority_at_k"] is not None and k > 1:
        shown.append((f"majority@{k}", ("majority_at_k",)))
    return shown


def value_at(measures: Mapping[str, Any], key: tuple[str, ...]) -> Any:
    """Return the interval under a key of `measures_shown`."""
    found: Any = measures
    for part in key:
        found = found[part]
    return found


def print_summary(console: Console, summary: Mapping[str, Any], report: Path) -> None:
    """Print the result of an evaluation, with 95 % intervals if there are enough problems.

    Args:
        console: where to print.
        summary: the content of `summary.json`.
        report: path of the report.
    """
    shown = measures_shown(summary)
    for name, key in shown:
        say(console, f"{name:<12} {interval(value_at(summary, key))}")
    problems = summary["accuracy"]["n"]
    say(console, f"{'problems':<12} {count(problems)}; {about_intervals([problems])}")
    if len(summary["by_difficulty"]) > 1:
        width = max(map(len, summary["by_difficulty"]))
        say(console, " ".join(f"{name:>12}" for name in (" " * width, *(name for name, _ in shown), "problems")))
        for label, measures in summary["by_difficulty"].items():
            cells = [percent(value_at(measures, key)["value"]) for _, key in shown]
            cells.append(count(measures["accuracy"]["n"]))
            say(console, f"{label:<{max(width, 12)}} " + " ".join(f"{cell:>12}" for cell in cells))
    for kind, found in summary["lengths"].items():
        if found is not None:
            say(
                console,
                f"{kind:<12} {found['mean']:.1f} tokens in the mean, {found['median']:.0f} median, "
                f"{found['p95']:.0f} at 95 %; {percent(found['truncated'])} truncated; entropy "
                f"{significant(found['entropy'])} nats per token",
            )
    if summary.get("baseline"):
        say(console, baseline_line(summary["baseline"]))
    say(console, f"{'report':<12} {report}")


def baseline_line(found: Mapping[str, Any]) -> str:
    """Return one line with the win rate and its interval, the counts and the sign test."""
    return (
        f"{'against':<12} {found['model']}, by {found['win_by']}: win rate {interval(found['win_rate'])}, "
        f"{found['wins']} won, {found['ties']} tied, {found['losses']} lost, "
        f"sign test p = {significant(found['p_value'], 2)}"
    )


def columns_shown(summary: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the measures of all problems, and of each difficulty if there are several."""
    by_difficulty = summary["by_difficulty"] if len(summary["by_difficulty"]) > 1 else {}
    return {"all problems": summary} | by_difficulty
