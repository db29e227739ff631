"""Measures of the answers to a suite: accuracy, mean of k, pass@k, majority, lengths and entropy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from r2vpo.evaluation.attempts import Answered, Attempt
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


@dataclass(frozen=True)
class Lengths:
    """Lengths of completions, and the model's entropy.

    Attributes:
        completions: number of completions.
        tokens: number of their tokens.
        mean: mean length in tokens.
        median: median length.
        p95: length that 95 % of them do not exceed.
        truncated: share cut at the limit.
        entropy: mean over all tokens, in nats, of the entropy of the distribution at the sampling temperature.
    """

    completions: int
    tokens: int
    mean: float
    median: float
    p95: float
    truncated: float
    entropy: float

    def to_json(self) -> dict[str, Any]:
        """Return the lengths as a JSON object."""
        return asdict(self)


def measure(problems: Sequence[Answered], *, votes: bool) -> Measures:
    """Measure a set of problems.

    Args:
        problems: at least one, all with the same number of samples.
        votes: whether the reward finds answers, so that a majority can be counted.
    """
    values = values_by_measure(problems, votes=votes)
    k = len(problems[0].samples)
    means = {name: mean_interval(column) for name, column in values.items()}
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
    right = [sum(attempt.correct for attempt in problem.samples) for problem in problems]
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


def measure_by_difficulty(problems: Sequence[Answered], *, votes: bool) -> dict[str, Measures]:
    """Measure the problems of each difficulty, in the order of the labels."""
    groups: dict[str, list[Answered]] = {}
    for problem in problems:
        groups.setdefault(problem.difficulty, []).append(problem)
    return {label: measure(groups[label], votes=votes) for label in sorted(groups)}


def majority_is_right(problem: Answered) -> bool:
    """Return whether the samples' most frequent answer is right, by the grade of the first sample that gave it."""
    place = majority([attempt.answer for attempt in problem.samples])
    return place is not None and problem.samples[place].correct


def lengths(attempts: Sequence[Attempt]) -> Lengths:
    """Measure the lengths of completions.

    Args:
        attempts: at least one.
    """
    tokens = np.array([attempt.tokens for attempt in attempts])
    total = int(tokens.sum())
    return Lengths(
        completions=len(attempts),
        tokens=total,
        mean=float(tokens.mean()),
        median=float(np.median(tokens)),
        p95=float(np.percentile(tokens, 95, method="higher")),
        truncated=sum(not attempt.finished for attempt in attempts) / len(attempts),
        entropy=sum(attempt.entropy * attempt.tokens for attempt in attempts) / max(total, 1),
    )
