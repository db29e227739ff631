"""Measures of answered problems: accuracy, mean of k, pass@k, majority, lengths and entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from r2vpo.evaluation.completions import Answered, Completion
from r2vpo.evaluation.passes import majority, pass_at_k, pass_sizes
from r2vpo.intervals import Interval, mean_interval


@dataclass(frozen=True)
class Measures:
    """Results on a set of problems; each has the interval of `mean_interval`.

    Attributes:
        accuracy: share of problems solved greedily.
        score: mean reward of the greedy answers.
        mean_at_k: mean share of right samples; None without samples.
        pass_at: pass@j by j.
        majority_at_k: share of problems whose most frequent answer is right; None without samples or answers.
    """

    accuracy: Interval
    score: Interval
    mean_at_k: Interval | None
    pass_at: dict[int, Interval]
    majority_at_k: Interval | None

    def to_json(self) -> dict[str, Any]:
        """Return the measures as a JSON object."""
        return {**asdict(self), "pass_at": {str(size): interval.to_json() for size, interval in self.pass_at.items()}}


def measure(problems: Sequence[Answered], *, votes: bool = False) -> Measures:
    """Measure a set of problems.

    Args:
        problems: at least one, all with the same number of samples.
        votes: whether the reward finds answers, so that a majority can be counted.
    """
    k = len(problems[0].samples)
    means = {name: mean_interval(column) for name, column in values_by_measure(problems, votes=votes).items()}
    return Measures(
        accuracy=means["acc"],
        score=means["score"],
        mean_at_k=means.get(f"mean@{k}"),
        pass_at={size: means[f"pass@{size}"] for size in pass_sizes(k)},
        majority_at_k=means.get(f"maj@{k}"),
    )


def values_by_measure(problems: Sequence[Answered], *, votes: bool) -> dict[str, list[float]]:
    """Return each problem's value of each measure; the measure is their mean.

    Args:
        problems: as for `measure`.
        votes: as for `measure`.

    Returns:
        `acc` and `score` of the greedy completions; with samples also `mean@k`, `pass@j` by j and, with votes, `maj@k`.
    """
    k = len(problems[0].samples)
    right = [sum(sample.correct for sample in problem.samples) for problem in problems]
    values = {
        "acc": [float(problem.greedy.correct) for problem in problems],
        "score": [problem.greedy.score for problem in problems],
    }
    if k:
        values[f"mean@{k}"] = [count / k for count in right]
    for size in pass_sizes(k):
        values[f"pass@{size}"] = [pass_at_k(count, k, size) for count in right]
    if k and votes:
        values[f"maj@{k}"] = [float(majority_is_right(problem)) for problem in problems]
    return values


def by_difficulty(problems: Sequence[Answered]) -> dict[str, list[Answered]]:
    """Return the problems of each difficulty, the labels in the order in which they first appear."""
    groups: dict[str, list[Answered]] = {}
    for problem in problems:
        groups.setdefault(problem.difficulty, []).append(problem)
    return groups


def measure_by_difficulty(problems: Sequence[Answered], *, votes: bool = False) -> dict[str, Measures]:
    """Measure the problems of each difficulty, in the order of the labels."""
    return {label: measure(group, votes=votes) for label, group in sorted(by_difficulty(problems).items())}


def majority_is_right(problem: Answered) -> bool:
    """Return whether the samples' most frequent answer is right, by the grade of the first sample that gave it."""
    place = majority([sample.answer for sample in problem.samples])
    return place is not None and problem.samples[place].correct


def lengths(completions: Sequence[Completion]) -> dict[str, float]:
    """Measure the lengths of completions, and the model's entropy.

    Args:
        completions: at least one.

    Returns:
        `completions` and `tokens`, the numbers of both; `mean` and `median` of the length in tokens, and `p95`, which
        95 % do not exceed; `truncated`, the share cut at the limit; `entropy`, the mean over all tokens, in nats.
    """
    tokens = np.array([completion.tokens for completion in completions])
    total = int(tokens.sum())
    return {
        "completions": len(completions),
        "tokens": total,
        "mean": float(tokens.mean()),
        "median": float(np.median(tokens)),
        "p95": float(np.percentile(tokens, 95, method="higher")),
        "truncated": sum(not completion.finished for completion in completions) / len(completions),
        "entropy": sum(completion.entropy * completion.tokens for completion in completions) / max(total, 1),
    }
