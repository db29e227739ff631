"""Intervals for a mean of values in [0, 1], such as an accuracy, and for the difference of two accuracies.

Both add a few imagined problems that came out as far apart as they can, and then take the ordinary normal interval. So
the interval has a width where all problems came out the same, and its coverage does not fall below 92 % of cases
whatever the law of the values, from ten problems on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

# The two-sided 95 % quantile of the standard normal distribution; statistics.NormalDist has it to 15 digits only.
Z95 = 1.959963984540054

FEWEST_PROBLEMS = 10
"""With fewer problems the intervals cover less than 92 or more than 98 of 100 cases too often: none is given."""


@dataclass(frozen=True)
class Interval:
    """A value with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end; None where no interval is known.
        high: upper end; None where no interval is known.
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
    """Return a mean over problems with its 95 % interval, where all values lie in [0, 1].

    ``m +- z sqrt(v / N)``, with m and v the mean and the variance of ``N = n + z^2`` values: the n given ones and
    z^2 / 2 (nearly 2) each of 0 and of 1. For values of 0 and 1 it is Agresti and Coull's interval of a proportion. The
    samples of a problem stay together: they are not independent of each other.

    Args:
        values: one a problem, such as its share of right samples, or 0 or 1; at least one.

    Returns:
        The mean of the given values, and the interval, cut at 0 and 1. Without ends where there are fewer than
        ``FEWEST_PROBLEMS`` values, or where one lies outside [0, 1]: the bounds of such scores are not known.

    Raises:
        ValueError: there is no value.

    Source:
        Agresti, A., and Coull, B. A. (1998), The American Statistician 52, 119-126. That values between 0 and 1 are
        taken by the same rule is ours.
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
    ``N = n + 2``: one more problem that is gained and one more that is lost. Pairing matters: most problems come out
    the same before and after, which narrows the interval.

    Args:
        before: whether each problem was right before.
        after: whether the same problem was right after.

    Returns:
        The difference after minus before, -1 to 1; without ends where there are fewer than ``FEWEST_PROBLEMS``.

    Raises:
        ValueError: when the two are empty or of different length.

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
