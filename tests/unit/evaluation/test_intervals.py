"""Intervals against numbers worked by hand or published."""

import itertools
import math

import numpy as np
import pytest
import torch

from r2vpo.evaluation import Interval, difference_interval, mean_interval, pass_at_k, preference, wilson
from tests.tolerances import FLOAT64


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    [
        # Newcombe (1998), Statistics in Medicine 17, 857-872, table I, method 3 (Wilson).
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_published(successes, n, low, high):
    interval = wilson(successes, n)
    assert interval.value == successes / n and interval.n == n
    assert (round(interval.low, 4), round(interval.high, 4)) == (low, high)


def test_wilson_by_hand():
    # n = 4, 2 right, z = 2: centre (0.5 + 4/8) / 2 = 0.5, half 2 sqrt(0.25/4 + 4/64) / 2 = sqrt(0.125).
    interval = wilson(2, 4, z=2.0)
    half = math.sqrt(0.125)
    torch.testing.assert_close((interval.low, interval.high), (0.5 - half, 0.5 + half), **FLOAT64)


def test_wilson_ends_and_symmetry():
    for n in (1, 7, 204):
        assert wilson(0, n).low == 0.0 and wilson(n, n).high == 1.0
        for k in range(n + 1):
            one, other = wilson(k, n), wilson(n - k, n)
            assert one.low <= one.value <= one.high
            assert one.low == pytest.approx(1 - other.high, abs=1e-12)


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_wilson_refuses(successes, n):
    with pytest.raises(ValueError, match="at least 1 trial"):
        wilson(successes, n)


def outcomes(both, gained, lost, neither):
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return before, after


def test_difference_by_hand():
    # 40 both, 40 gained, 5 lost, 15 neither: 0.80 after, 0.45 before. ad - bc = 600 - 200 = 400, less
    # n/2 = 50: 350; margins 80, 20, 45, 55: phi = 350 / sqrt(80 * 20 * 45 * 55) = 350 / 1989.975.
    phi = 350 / 1989.9748742132398
    later, earlier = wilson(80, 100), wilson(45, 100)
    down, up = 0.8 - later.low, earlier.high - 0.45
    low = 0.35 - math.sqrt(down**2 - 2 * phi * down * up + up**2)
    down, up = later.high - 0.8, 0.45 - earlier.low
    high = 0.35 + math.sqrt(down**2 - 2 * phi * down * up + up**2)
    interval = difference_interval(*outcomes(40, 40, 5, 15))
    torch.testing.assert_close((interval.value, interval.low, interval.high), (0.35, low, high), **FLOAT64)
    assert (round(interval.low, 3), round(interval.high, 3)) == (0.230, 0.455)


def test_difference_turns_round():
    before, after = outcomes(40, 40, 5, 15)
    gain, loss = difference_interval(before, after), difference_interval(after, before)
    torch.testing.assert_close((gain.value, gain.low, gain.high), (-loss.value, -loss.high, -loss.low), **FLOAT64)


def test_pairing_narrows_the_interval():
    same = difference_interval(*outcomes(40, 10, 0, 50))
    opposed = difference_interval(*outcomes(0, 50, 40, 10))
    assert same.value == opposed.value
    assert same.high - same.low < 0.6 * (opposed.high - opposed.low)


def test_difference_covers():
    """Summed over all tables of 24 problems with odds (0.4, 0.3, 0.1, 0.2), coverage is about 95 %."""
    n, odds, covered = 24, (0.4, 0.3, 0.1, 0.2), 0.0
    for both, gained, lost in itertools.product(range(n + 1), repeat=3):
        neither = n - both - gained - lost
        if neither < 0:
            continue
        cells = (both, gained, lost, neither)
        log_odds = math.lgamma(n + 1) + sum(
            c * math.log(p) - math.lgamma(c + 1) for c, p in zip(cells, odds, strict=True)
        )
        interval = difference_interval(*outcomes(*cells))
        if interval.low <= odds[1] - odds[2] <= interval.high:
            covered += math.exp(log_odds)
    assert 0.93 < covered < 0.985


def test_difference_edges():
    assert difference_interval([False] * 9, [True] * 9).high == 1.0
    nothing = difference_interval([True] * 9, [True] * 9)
    assert nothing.value == 0.0 and nothing.low < 0.0 < nothing.high
    with pytest.raises(ValueError, match="same problems"):
        difference_interval([True], [True, False])
    with pytest.raises(ValueError, match="same problems"):
        difference_interval([], [])


def test_json():
    assert Interval(0.5, 0.25, 0.75, 8).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    assert str(Interval(0.5, 0.25, 0.75, 8)) == "0.500 [0.250, 0.750] (n=8)"


def test_mean_interval_by_hand():
    # Mean 0.5, squares 0.125 + 0.25 of one more observation, of at most 4 * 0.25: f = 0.375, n / f = 10.667
    interval = mean_interval([0.25, 0.25, 0.75, 0.75])
    n, z2 = 4 / ((4 * 0.0625 + 0.25) / (4 * 0.25)), 1.959963984540054**2
    half = math.sqrt(z2) * math.sqrt(0.25 / n + z2 / (4 * n * n)) / (1 + z2 / n)
    assert (interval.value, interval.low, interval.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


@pytest.mark.parametrize(("right", "n"), [(0, 30), (30, 30), (3, 30), (1, 5), (1, 1)])
def test_mean_interval_of_zeros_and_ones_is_wilson_s(right, n):
    mean, share = mean_interval([1.0] * right + [0.0] * (n - right)), wilson(right, n)
    assert (mean.value, mean.low, mean.high) == pytest.approx((share.value, share.low, share.high))
    assert mean.low < mean.high, "0 of 30 is not known to be 0"


def test_scores_outside_of_shares_have_no_interval():
    assert mean_interval([0.5, 1.5, 0.0]) == Interval(2 / 3, None, None, 3)
    assert str(mean_interval([-1.0, 2.0])) == "0.500 (n=2)"


def coverage(intervals, truth):
    return float(np.mean([one.low - 1e-12 <= truth <= one.high + 1e-12 for one in intervals]))


SIZES = (5, 10, 30)
SHARES = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 0.8, 0.9, 0.95)


@pytest.mark.parametrize("n", SIZES)
def test_wilson_covers(n):
    """Exact: counts are few, so the coverage goes up and down with the share; on average it is what it says."""
    chance = lambda k, p: math.comb(n, k) * p**k * (1 - p) ** (n - k)  # noqa: E731
    intervals = [wilson(k, n) for k in range(n + 1)]
    covered = [sum(chance(k, p) for k, one in enumerate(intervals) if one.low <= p <= one.high) for p in SHARES]
    assert 0.92 <= np.mean(covered) <= 0.98
    assert min(covered) >= 0.91 and max(covered) <= 0.98


# How often problems are solved: a generator and a shape in, pass rates out.
RATES = {
    "hard": lambda g, shape: g.beta(0.2, 1.8, shape),
    "easy": lambda g, shape: g.beta(2, 0.5, shape),
    "either": lambda g, shape: g.beta(0.5, 0.5, shape),
    "even": lambda g, shape: g.beta(1, 1, shape),
    "alike": lambda g, shape: g.beta(2, 2, shape),
}
REPEATS = 1000


def shares(law, n, k, size):
    """Values of pass@size of k samples, (REPEATS, n), and their mean over all problems."""
    generator = np.random.default_rng(4)
    values = np.array([pass_at_k(right, k, size) for right in range(k + 1)])
    many = values[generator.binomial(k, RATES[law](generator, (400_000,)))]
    return values[generator.binomial(k, RATES[law](generator, (REPEATS, n)))], float(many.mean())


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("k", "size", "least"), [(4, 1, 0.91), (8, 1, 0.91), (4, 2, 0.90), (4, 4, 0.83), (8, 4, 0.80)])
def test_means_and_pass_at_k_cover(k, size, least, n):
    """On average over five kinds of problems, and for each of them within bounds, pass@4 of 8 near 1 the worst."""
    covered = []
    for law in RATES:
        values, truth = shares(law, n, k, size)
        covered.append(coverage([mean_interval(row) for row in values.tolist()], truth))
    assert 0.92 <= np.mean(covered) <= 0.98
    assert min(covered) >= least and max(covered) <= 0.995


@pytest.mark.parametrize("n", SIZES)
def test_win_rates_cover(n):
    generator, covered = np.random.default_rng(5), []
    for win, tie in ((0.5, 0.2), (0.3, 0.3), (0.3, 0.6), (0.7, 0.1), (0.45, 0.05)):
        drawn = generator.random((REPEATS, n))
        outcomes = np.where(drawn < win, "win", np.where(drawn < win + tie, "tie", "loss")).tolist()
        covered.append(coverage([preference(row).win_rate for row in outcomes], win + tie / 2))
    assert 0.92 <= np.mean(covered) <= 0.98
    assert min(covered) >= 0.90


@pytest.mark.parametrize("n", SIZES)
def test_differences_on_the_same_problems_cover(n):
    generator, covered = np.random.default_rng(6), []
    for gained, lost, both in (
        (0.1, 0.1, 0.4),
        (0.3, 0.05, 0.3),
        (0.2, 0.0, 0.2),
        (0.25, 0.25, 0.25),
        (0.05, 0.05, 0.8),
    ):
        drawn = generator.random((REPEATS, n))
        before = (drawn < both) | ((drawn >= both + gained) & (drawn < both + gained + lost))
        after = drawn < both + gained
        found = [difference_interval(b, a) for b, a in zip(before.tolist(), after.tolist(), strict=True)]
        covered.append(coverage(found, gained - lost))
    assert 0.92 <= np.mean(covered) <= 0.99
    assert min(covered) >= 0.90
