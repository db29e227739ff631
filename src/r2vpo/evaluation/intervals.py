"""Intervals for a proportion, for the difference of two on the same problems, and for any mean over problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np

# The two-sided 95 % quantile of the standard normal distribution.
Z95 = 1.959963984540054
DRAWS = 10_000


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end.
        high: upper end.
        n: number of problems behind it.
    """

    value: float
    low: float
    high: float
    n: int

    def to_json(self) -> dict[str, float | int]:
        """Return the interval as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        return f"{self.value:.3f} [{self.low:.3f}, {self.high:.3f}] (n={self.n})"


def wilson(successes: int, n: int, z: float = Z95) -> Interval:
    """Return a proportion with its Wilson score interval.

    `(p + z^2/2n +- z sqrt(p(1-p)/n + z^2/4n^2)) / (1 + z^2/n)`, with p = successes/n. It stays in [0, 1] and
    is sound at 0 and at 1, where the textbook interval has no width.

    Args:
        successes: number of successes, 0 to n.
        n: number of trials, at least 1.
        z: quantile of the normal distribution.

    Returns:
        The interval.

    Raises:
        ValueError: when there are no trials or not 0 to n successes.

    Source:
        Wilson, E. B. (1927), JASA 22, 209-212.
    """
    if n < 1 or not 0 <= successes <= n:
        raise ValueError(f"{successes} successes of {n} trials: pass 0 to n successes of at least 1 trial")
    p = successes / n
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    # At 0 and n the ends are exactly 0 and 1; rounding must not move them.
    low = 0.0 if successes == 0 else (centre - half) / scale
    high = 1.0 if successes == n else (centre + half) / scale
    return Interval(value=p, low=low, high=high, n=n)


def bootstrap_mean(values: Sequence[float], *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Return a mean over problems with its percentile bootstrap 95 % interval: problems are drawn with replacement.

    The samples of a problem stay together, since they are not independent of each other.

    Args:
        values: one a problem, such as its share of right samples; at least one.
        draws: number of resamples.
        seed: of the resampling; the same values give the same interval.

    Returns:
        The interval. Where all values are equal it has no width.

    Raises:
        ValueError: there is no value.
    """
    if not values:
        raise ValueError("no value to take the mean of: pass at least one problem's")
    table = np.asarray(values, dtype=np.float64)
    random = np.random.default_rng(seed)
    # A thousand draws at once bound the memory, whatever the number of problems.
    means = np.concatenate(
        [
            table[random.integers(0, len(table), size=(min(1000, draws - start), len(table)))].mean(axis=1)
            for start in range(0, draws, 1000)
        ]
    )
    low, high = np.percentile(means, [2.5, 97.5])
    return Interval(value=float(table.mean()), low=float(low), high=float(high), n=len(table))


def difference_interval(before: Sequence[bool], after: Sequence[bool]) -> Interval:
    """Return the gain in accuracy on the same problems, with its 95 % interval.

    With p1, p2 the accuracies after and before, (l, u) their Wilson limits, phi their correlation over the
    problems: `low = p1 - p2 - sqrt((p1-l1)^2 - 2 phi (p1-l1)(u2-p2) + (u2-p2)^2)`, and high with the other
    ends. Pairing matters: most problems come out the same before and after, which narrows the interval.

    Args:
        before: whether each problem was right before.
        after: whether the same problem was right after.

    Returns:
        The difference after minus before, -1 to 1.

    Raises:
        ValueError: when the two are empty or of different length.

    Source:
        Newcombe, R. G. (1998), Statistics in Medicine 17, 2635-2650, method 10 (phi with continuity
        correction).
    """
    n = len(after)
    if n == 0 or len(before) != n:
        raise ValueError(
            f"{len(before)} results before and {n} after: pass the same problems, at least one, in the same order"
        )
    both = sum(1 for b, a in zip(before, after, strict=True) if a and b)
    gained = sum(1 for b, a in zip(before, after, strict=True) if a and not b)
    lost = sum(1 for b, a in zip(before, after, strict=True) if b and not a)
    neither = n - both - gained - lost
    later, earlier = wilson(both + gained, n), wilson(both + lost, n)
    phi = _corrected_phi(both, gained, lost, neither)
    difference = (gained - lost) / n

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))

    low = difference - reach(later.value - later.low, earlier.high - earlier.value)
    high = difference + reach(later.high - later.value, earlier.value - earlier.low)
    return Interval(value=difference, low=max(low, -1.0), high=min(high, 1.0), n=n)


def _corrected_phi(both: int, gained: int, lost: int, neither: int) -> float:
    n = both + gained + lost + neither
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    covariance: float = both * neither - gained * lost
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    return covariance / math.sqrt(margins)
