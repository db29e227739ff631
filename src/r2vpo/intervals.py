"""Intervals for a mean of values in [0, 1], such as an accuracy, and for the difference of two accuracies.

Both add a few imaginary problems with the most extreme outcomes and then take the usual normal interval. The interval
therefore has a width even if all problems have the same outcome, and from ten problems on it covers at least 92 % of
cases for any distribution of the values.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# The two-sided 95 % quantile of the standard normal distribution; statistics.NormalDist gives only 15 digits of it.
Z95 = 1.959963984540054

FEWEST_PROBLEMS = 10
"""With fewer problems the intervals too often cover less than 92 or more than 98 of 100 cases, so none is given."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end; None if there is no interval.
        high: upper end; None if there is no interval.
        n: number of problems, or of seeds, behind it.
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


def mean_interval(values: Sequence[float]) -> Interval:
    """Return a mean over problems with its 95 % interval, for values in [0, 1].

    ``m +- z sqrt(v / N)``, with m and v the mean and the variance of ``N = n + z^2`` values: the n given ones and
    z^2 / 2 (nearly 2) each of 0 and of 1. For values of 0 and 1 it is Agresti and Coull's interval of a proportion. The
    samples of a problem stay together: they are not independent of each other.

    Args:
        values: one per problem, such as its share of right samples, or 0 or 1; at least one.

    Returns:
        The mean of the given values, and the interval, cut at 0 and 1. It has no ends if there are fewer than
        ``FEWEST_PROBLEMS`` values, or if one lies outside [0, 1], since the bounds of such scores are unknown.

    Raises:
        ValueError: there is no value.

    Source:
        Agresti, A., and Coull, B. A. (1998), The American Statistician 52, 119-126. Applying the same rule to
        values between 0 and 1 is this project's.
    """
    n = len(values)
    if not n:
        raise ValueError("no value to take the mean of: pass at least one problem's")
    mean = math.fsum(values) / n
    if n < FEWEST_PROBLEMS or min(values) < 0 or max(values) > 1:
        return Interval(mean, None, None, n)
    added, total = Z95**2 / 2, n + Z95**2
    centre = (n * mean + added) / total
    squares = math.fsum((value - centre) ** 2 for value in values) + added * (centre**2 + (1 - centre) ** 2)
    half = Z95 * math.sqrt(squares) / total
    return Interval(mean, max(centre - half, 0.0), min(centre + half, 1.0), n)


def difference_interval(before: Sequence[bool], after: Sequence[bool]) -> Interval:
    """Return the gain in accuracy on the same problems, with its 95 % interval.

    ``d +- z sqrt((p + q - d^2) / N)`` with ``p = (gained + 1) / N``, ``q = (lost + 1) / N``, ``d = p - q`` and
    ``N = n + 2``: one additional problem is gained and one is lost. Pairing matters: most problems have the same result
    before and after, which narrows the interval.

    Args:
        before: whether each problem was right before.
        after: whether the same problem was right after.

    Returns:
        The difference after minus before, -1 to 1; without ends if there are fewer than ``FEWEST_PROBLEMS``.

    Raises:
        ValueError: the two are empty or of different length.

    Source:
        Bonett, D. G., and Price, R. M. (2012), Journal of Educational and Behavioral Statistics 37, 479-488.
    """
    n = len(after)
    if n == 0 or len(before) != n:
        raise ValueError(
            f"{len(before)} results before and {n} after: pass the same problems, at least one, in the same order"
        )
    gained = sum(1 for b, a in zip(before, after, strict=True) if a and not b)
    lost = sum(1 for b, a in zip(before, after, strict=True) if b and not a)
    difference = (gained - lost) / n
    if n < FEWEST_PROBLEMS:
        return Interval(difference, None, None, n)
    changed, centre = (gained + lost + 2) / (n + 2), (gained - lost) / (n + 2)
    half = Z95 * math.sqrt((changed - centre**2) / (n + 2))
    return Interval(difference, max(centre - half, -1.0), min(centre + half, 1.0), n)
