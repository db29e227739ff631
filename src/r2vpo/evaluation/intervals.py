"""Intervals for a proportion, for a mean of shares, and for the difference of two proportions on the same problems."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# The two-sided 95 % quantile of the standard normal distribution.
Z95 = 1.959963984540054


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end; None where no interval is known.
        high: upper end; None where no interval is known.
        n: number of problems behind it.
    """

    value: float
    low: float | None
    high: float | None
    n: int

    def to_json(self) -> dict[str, float | int]:
        """Return the interval as a JSON object."""
        return asdict(self)

    def __str__(self) -> str:
        ends = "" if self.low is None or self.high is None else f" [{self.low:.3f}, {self.high:.3f}]"
        return f"{self.value:.3f}{ends} (n={self.n})"


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
    low, high = _score_ends(successes / n, n, z)
    # At 0 and n the ends are exactly 0 and 1; rounding must not move them.
    return Interval(successes / n, 0.0 if successes == 0 else low, 1.0 if successes == n else high, n)


def mean_interval(values: Sequence[float]) -> Interval:
    """Return a mean over problems with its 95 % interval, where all values lie in [0, 1].

    It is Wilson's interval for ``n / f`` problems in place of n, with f the variance of the values in terms of that of
    0 and 1 with the same mean m, drawn towards 1 by one more observation:
    ``f = min(1, (sum (x - m)^2 + m (1 - m)) / (n m (1 - m)))``. For values of 0 and 1, and where all are 0 or all are
    1, it is Wilson's interval itself. The samples of a problem stay together: they are not independent of each other.

    Args:
        values: one a problem, such as its share of right samples; at least one.

    Returns:
        The interval. Without ends where a value lies outside [0, 1]: the bounds of such scores are not known, and
        without them no interval covers when problems are few.

    Raises:
        ValueError: there is no value.

    Source:
        The effective sample size is Kish's (1965, Survey Sampling); the added observation is ours, since f from few
        problems is too small too often.
    """
    n = len(values)
    if not n:
        raise ValueError("no value to take the mean of: pass at least one problem's")
    mean = math.fsum(values) / n
    if min(values) < 0 or max(values) > 1:
        return Interval(mean, None, None, n)
    most = mean * (1 - mean)
    spread = math.fsum((value - mean) ** 2 for value in values)
    share = min(1.0, (spread + most) / (n * most)) if most > 0 else 1.0
    low, high = _score_ends(mean, n / share, Z95)
    return Interval(mean, 0.0 if mean == 0 else low, 1.0 if mean == 1 else high, n)


def _score_ends(p: float, n: float, z: float) -> tuple[float, float]:
    centre = p + z * z / (2 * n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return (centre - half) / scale, (centre + half) / scale


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
    after_ends, before_ends = (_wilson_reach(right, n) for right in (both + gained, both + lost))
    phi = _corrected_phi(both, gained, lost, neither)
    difference = (gained - lost) / n

    def reach(one: float, other: float) -> float:
        return math.sqrt(max(one * one - 2 * phi * one * other + other * other, 0.0))

    low = difference - reach(after_ends[0], before_ends[1])
    high = difference + reach(after_ends[1], before_ends[0])
    return Interval(value=difference, low=max(low, -1.0), high=min(high, 1.0), n=n)


def _wilson_reach(successes: int, n: int) -> tuple[float, float]:
    """How far Wilson's interval goes down and up from the proportion."""
    p = successes / n
    low, high = _score_ends(p, n, Z95)
    return p - low, high - p


def _corrected_phi(both: int, gained: int, lost: int, neither: int) -> float:
    n = both + gained + lost + neither
    margins = (both + gained) * (lost + neither) * (both + lost) * (gained + neither)
    if margins == 0:
        return 0.0
    covariance: float = both * neither - gained * lost
    if covariance > 0:
        covariance = max(covariance - n / 2, 0.0)
    return covariance / math.sqrt(margins)
