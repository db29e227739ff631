"""What many seeds say: interquartile means, bootstrap intervals paired by seed, and times that some runs never reach.

The practice is that of Agarwal et al. (2021), *Deep Reinforcement Learning at the Edge of the Statistical Precipice*,
arXiv:2108.13264, and of its library rliable. Two differences, both because the runs of a comparison share their
seeds (data, first weights, order of problems): a resample draws seeds, the same ones for both methods; and times that
a run never reaches stay in, as infinite.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
DRAWS = 10_000


@dataclass(frozen=True)
class Estimate:
    """A value with its 95 % bootstrap interval.

    Attributes:
        value: the statistic of the sample itself.
        low: lower end.
        high: upper end.
        n: number of seeds behind it.
    """

    value: float
    low: float
    high: float
    n: int


def interquartile_mean(scores: Array, axis: int = -1) -> Array:
    """Return the mean of the middle half: the lowest and the highest quarter are left out.

    ``mean(x_(k+1), ..., x_(n-k))`` with x sorted and ``k = floor(n / 4)``; with fewer than four scores it is the mean.

    Args:
        scores: any shape, dimensionless.
        axis: over which.

    Returns:
        The scores' shape without that axis.

    Source:
        Agarwal et al. (2021), section 4.3; the 25 % trimmed mean, as rliable computes it.
    """
    ordered = np.sort(np.asarray(scores, dtype=np.float64), axis=axis)
    n = ordered.shape[axis]
    middle: Array = np.take(ordered, np.arange(n // 4, n - n // 4), axis=axis)
    return np.asarray(middle.mean(axis=axis))


def resampled(n: int, strata: int = 1, *, draws: int = DRAWS, seed: int = 0) -> NDArray[np.int64]:
    """Return which seeds each bootstrap draw takes: (draws, n, strata), independently for each stratum."""
    return np.random.default_rng(seed).integers(0, n, size=(draws, n, strata))


def bootstrap(
    statistic: Callable[..., Array], *samples: Array, draws: int = DRAWS, seed: int = 0, undefined: bool = False
) -> Estimate:
    """Return a statistic of one or several samples with its 95 % percentile interval over resampled seeds.

    Args:
        statistic: gets each sample as (..., n, strata) and returns (...).
        samples: (n,), or (n, strata) for scores of several tasks; row i of each is the same seed, and a draw takes
            the same rows of each. Strata are resampled independently.
        draws: number of resamples.
        seed: of the resampling.
        undefined: draws whose statistic is NaN count as minus infinity for the lower end and as infinity for the
            upper end: they widen the interval.

    Returns:
        The statistic and its interval.

    Raises:
        ValueError: samples of different length, or empty ones.

    Source:
        Stratified percentile bootstrap as in rliable, but paired: one draw of seeds for all the samples.
    """
    tables = [np.asarray(sample, dtype=np.float64) for sample in samples]
    tables = [table[:, None] if table.ndim == 1 else table for table in tables]
    if not tables or len({table.shape for table in tables}) != 1 or not len(tables[0]):
        shapes = ", ".join(str(table.shape) for table in tables) or "none"
        raise ValueError(f"samples have shapes {shapes}: pass samples of the same seeds, at least one")
    n, strata = tables[0].shape
    rows = resampled(n, strata, draws=draws, seed=seed)
    drawn = statistic(*(np.take_along_axis(table[None], rows, axis=1) for table in tables))
    value = float(statistic(*(table[None] for table in tables))[0])
    return Estimate(value, *_percentiles(drawn, undefined), n)


def _percentiles(drawn: Array, undefined: bool) -> tuple[float, float]:
    missing = np.isnan(drawn)
    low = np.where(missing, -np.inf, drawn) if undefined else drawn[~missing]
    high = np.where(missing, np.inf, drawn) if undefined else drawn[~missing]
    if not low.size:
        return float("nan"), float("nan")
    # No interpolation: the mean of a number and infinity says nothing.
    return (
        float(np.percentile(low, 2.5, method="lower")),
        float(np.percentile(high, 97.5, method="higher")),
    )


def iqm(sample: Array, **options: Any) -> Estimate:
    """Return the interquartile mean over seeds (and strata together) with its stratified bootstrap interval."""
    return bootstrap(lambda x: interquartile_mean(x.reshape(*x.shape[:-2], -1)), sample, **options)


def paired_difference(ours: Array, theirs: Array, **options: Any) -> Estimate:
    """Return the interquartile mean of the differences ``ours - theirs`` seed by seed, with its interval.

    Args:
        ours: (n,), row i is the same seed as row i of theirs.
        theirs: (n,).
        options: draws and seed of ``bootstrap``.
    """
    return bootstrap(lambda a, b: interquartile_mean((a - b)[..., 0]), ours, theirs, **options)


def probability_of_improvement(ours: Array, theirs: Array, **options: Any) -> Estimate:
    """Return the probability that a run of ours scores above one of theirs, with its interval.

    ``mean over i, j of [x_i > y_j] + [x_i = y_j] / 2``, averaged over strata.

    Args:
        ours: (n,) or (n, strata).
        theirs: the same shape and seeds.
        options: draws and seed of ``bootstrap``.

    Source:
        Agarwal et al. (2021), section 4.3: the Mann-Whitney statistic over all pairs, whatever their seeds. The
        interval resamples seeds for both together, which rliable does independently.
    """

    def statistic(x: Array, y: Array) -> Array:
        above = (x[..., :, None, :] > y[..., None, :, :]) + 0.5 * (x[..., :, None, :] == y[..., None, :, :])
        return np.asarray(above.mean(axis=(-3, -2, -1)))

    return bootstrap(statistic, ours, theirs, **options)


def share_of_wins(ours: Array, theirs: Array) -> float:
    """Return the share of seeds at which ours is above theirs; ties count half."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    return float(np.mean((ours > theirs) + 0.5 * (ours == theirs)))


def area_under_curve(x: Array, y: Array) -> float:
    """Return the mean height of a curve, ``integral y dx / (x_last - x_first)``, by trapezoids.

    Args:
        x: (points,), rising; rollouts.
        y: (points,); accuracy.

    Raises:
        ValueError: fewer than two points, or x does not rise.
    """
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(x) != len(y) or len(x) < 2 or np.any(np.diff(x) < 0) or x[-1] == x[0]:
        raise ValueError(f"a curve of {len(x)} and {len(y)} values has no area: pass two points or more, x rising")
    return float(np.trapezoid(y, x) / (x[-1] - x[0]))


def time_to_target(x: Array, y: Array, target: float) -> float:
    """Return the first x at which y was measured at or above the target; infinite if it never was."""
    reached = np.asarray(y) >= target
    return float(np.asarray(x)[int(np.argmax(reached))]) if reached.any() else float("inf")


def median_time(times: Array, **options: Any) -> Estimate:
    """Return the median of times to a target; infinite when half of the runs or more never reached it.

    Args:
        times: (n,), infinite where a run never reached the target: it counts as above every budget.
        options: draws and seed of ``bootstrap``.
    """
    return bootstrap(lambda t: _median(t[..., 0]), times, **options)


def ratio_of_medians(ours: Array, theirs: Array, **options: Any) -> Estimate:
    """Return the ratio of two medians of times to a target, with the interval of a bootstrap paired by seed.

    A median that is infinite makes the ratio 0 or infinite; when both are, the ratio is not known (NaN), and such
    draws widen the interval at both ends.

    Args:
        ours: (n,), infinite where a run never reached the target.
        theirs: (n,), the same seeds.
        options: draws and seed of ``bootstrap``.
    """

    def statistic(a: Array, b: Array) -> Array:
        with np.errstate(invalid="ignore"):
            return np.asarray(_median(a[..., 0]) / _median(b[..., 0]))

    estimate = bootstrap(statistic, ours, theirs, undefined=True, **options)
    return Estimate(estimate.value, max(estimate.low, 0.0), estimate.high, estimate.n)


def _median(times: Array) -> Array:
    ordered = np.sort(times, axis=-1)
    n = ordered.shape[-1]
    return np.asarray((ordered[..., (n - 1) // 2] + ordered[..., n // 2]) / 2)


def survival_curve(times: Array, ends: Array) -> tuple[Array, Array]:
    """Return the share of runs that have not reached the target yet, as steps (Kaplan and Meier 1958).

    ``S(t) = product over times t_i <= t of (1 - d_i / n_i)``, with d_i runs that reach it at t_i of the n_i that are
    still watched then.

    Args:
        times: (n,), time at which a run reached the target, infinite if it never did.
        ends: (n,), time up to which it was watched.

    Returns:
        Times, beginning with 0, and the share from each of them on.

    Raises:
        ValueError: no runs.
    """
    times, ends = np.asarray(times, dtype=np.float64), np.asarray(ends, dtype=np.float64)
    if not len(times) or times.shape != ends.shape:
        raise ValueError(f"{len(times)} times and {len(ends)} ends: pass one of each for every run, at least one run")
    seen = np.minimum(times, ends)
    steps = np.unique(times[np.isfinite(times)])
    watched = (seen[None, :] >= steps[:, None]).sum(axis=1)
    events = (times[None, :] == steps[:, None]).sum(axis=1)
    share = np.cumprod(1 - events / np.maximum(watched, 1))
    return np.concatenate([[0.0], steps]), np.concatenate([[1.0], share])


def collapsed(accuracy: Array) -> bool:
    """Say whether a run ended at less than half of the best accuracy that it had, before training included."""
    accuracy = np.asarray(accuracy, dtype=np.float64)
    return bool(accuracy[-1] < accuracy.max() / 2)
