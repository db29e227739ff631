"""Intervals against numbers worked by hand; how often they cover, exactly or by simulation."""

import itertools
import math

import numpy as np
import pytest
import torch

from r2vpo.evaluation import pass_at_k, preference
from r2vpo.intervals import FEWEST_PROBLEMS, Interval, difference_interval, mean_interval
from tests.tolerances import FLOAT64


def share(right, n):
    return mean_interval([1.0] * right + [0.0] * (n - right))


@pytest.mark.parametrize(("right", "n"), [(0, 30), (30, 30), (3, 30), (5, 10), (74, 204)])
def test_a_share_is_agresti_and_coull_s(right, n):
    """The textbook interval of (right + z^2 / 2) of n + z^2, cut at 0 and 1."""
    z2 = 1.959963984540054**2
    total, found = n + z2, share(right, n)
    p = (right + z2 / 2) / total
    half = math.sqrt(z2 * p * (1 - p) / total)
    expected = (max(p - half, 0.0), min(p + half, 1.0))
    torch.testing.assert_close((found.low, found.high), expected, **FLOAT64)
    assert found.value == right / n and found.n == n and found.low < found.high, "0 of 30 is not known to be 0"


def test_a_mean_by_hand():
    # Five times 0.25 and five times 0.75, and 1.92 each of 0 and 1: squares about the mean 0.5 are 10 / 16 + 3.84 / 4.
    found = mean_interval([0.25, 0.75] * 5)
    z2 = 1.959963984540054**2
    half = math.sqrt(z2 * (10 / 16 + z2 / 4)) / (10 + z2)
    assert (found.value, found.low, found.high) == pytest.approx((0.5, 0.5 - half, 0.5 + half))
    with pytest.raises(ValueError, match="at least one"):
        mean_interval([])


def test_a_mean_lies_in_its_interval_and_turns_round():
    generator = np.random.default_rng(7)
    for n in (10, 33, 1000):
        for values in (generator.beta(0.2, 2, n), np.full(n, 0.9), np.full(n, 1.0), generator.random(n) ** 9):
            one, other = mean_interval(values.tolist()), mean_interval((1 - values).tolist())
            assert 0 <= one.low <= one.value <= one.high <= 1
            assert one.low == pytest.approx(1 - other.high, abs=1e-12)


def test_fewer_than_ten_problems_have_a_value_and_no_interval():
    assert FEWEST_PROBLEMS == 10
    assert mean_interval([1.0, 0.0, 0.0, 1.0]) == Interval(0.5, None, None, 4)
    assert difference_interval([False] * 9, [True] * 9) == Interval(1.0, None, None, 9)
    assert preference(["win"] * 9).win_rate == Interval(1.0, None, None, 9)
    assert mean_interval([1.0] * 10).low < 1.0


def outcomes(both, gained, lost, neither):
    before = [True] * both + [False] * gained + [True] * lost + [False] * neither
    after = [True] * both + [True] * gained + [False] * lost + [False] * neither
    return before, after


def test_difference_by_hand():
    # 40 gained and 5 lost of 100, one more of each: d = 35 / 102, p + q = 47 / 102.
    half = 1.959963984540054 * math.sqrt((47 / 102 - (35 / 102) ** 2) / 102)
    found = difference_interval(*outcomes(40, 40, 5, 15))
    expected = (0.35, 35 / 102 - half, 35 / 102 + half)
    torch.testing.assert_close((found.value, found.low, found.high), expected, **FLOAT64)
    assert (round(found.low, 3), round(found.high, 3)) == (0.229, 0.457)


def test_difference_turns_round():
    before, after = outcomes(40, 40, 5, 15)
    gain, loss = difference_interval(before, after), difference_interval(after, before)
    torch.testing.assert_close((gain.value, gain.low, gain.high), (-loss.value, -loss.high, -loss.low), **FLOAT64)


def test_pairing_narrows_the_interval():
    same = difference_interval(*outcomes(40, 10, 0, 50))
    opposed = difference_interval(*outcomes(0, 50, 40, 10))
    assert same.value == opposed.value
    assert same.high - same.low < 0.6 * (opposed.high - opposed.low)


def test_difference_edges():
    assert difference_interval([False] * 90, [True] * 90).high == 1.0
    nothing = difference_interval([True] * 90, [True] * 90)
    assert nothing.value == 0.0 and nothing.low < 0.0 < nothing.high
    with pytest.raises(ValueError, match="same problems"):
        difference_interval([True], [True, False])
    with pytest.raises(ValueError, match="same problems"):
        difference_interval([], [])


def test_json():
    assert Interval(0.5, 0.25, 0.75, 8).to_json() == {"value": 0.5, "low": 0.25, "high": 0.75, "n": 8}
    assert str(Interval(0.5, 0.25, 0.75, 8)) == "0.500 [0.250, 0.750] (n=8)"


def test_scores_outside_of_shares_have_no_interval():
    assert mean_interval([0.5, 1.5, 0.0] * 10) == Interval(2 / 3, None, None, 30)
    assert str(mean_interval([-1.0, 2.0])) == "0.500 (n=2)"


def coverage(intervals, truth):
    return float(np.mean([one.low - 1e-12 <= truth <= one.high + 1e-12 for one in intervals]))


# With five problems nothing is printed. Every interval covers in at least 92 of 100 cases, whatever the law, and in 92
# to 98 on average over laws. Counts go up in steps, so that a single law may be covered more often; most of all where
# nearly all problems come out alike, since an interval that holds 0 holds every share near 0.
SIZES = (10, 30)
LEAST, MOST = 0.92, 0.98


def shares_covered(n):
    """How often every share in steps of 1 / 2000 is covered, exactly."""
    places = np.arange(1, 2000) / 2000
    covered = np.zeros(len(places))
    for k in range(n + 1):
        one = share(k, n)
        chance = math.comb(n, k) * places**k * (1 - places) ** (n - k)
        covered += chance * ((one.low <= places) & (places <= one.high))
    return covered


@pytest.mark.parametrize("n", range(FEWEST_PROBLEMS, 40))
def test_no_share_is_covered_too_rarely(n):
    covered = shares_covered(n)
    assert covered.min() >= LEAST
    assert LEAST <= covered.mean() <= MOST


@pytest.mark.parametrize(("n", "too_often"), [(10, 0.20), (30, 0.09), (100, 0.04)])
def test_few_shares_are_covered_more_often_than_that(n, too_often):
    assert np.mean(shares_covered(n) > MOST) == pytest.approx(too_often, abs=0.01)


# How often problems are solved: a generator and a shape in, pass rates out.
RATES = {
    "hard": lambda g, shape: g.beta(0.2, 1.8, shape),
    "easy": lambda g, shape: g.beta(2, 0.5, shape),
    "nearly all solved": lambda g, shape: g.beta(5, 0.5, shape),
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


# Laws that are covered more often than in 98 of 100 cases, by the number of problems.
OFTEN = {10: {"nearly all solved", "either", "even", "alike"}, 30: {"nearly all solved", "easy"}}


@pytest.mark.parametrize("n", SIZES)
@pytest.mark.parametrize(("k", "size"), [(4, 1), (8, 1), (4, 2), (4, 4), (8, 4)])
def test_means_and_pass_at_k_are_covered(k, size, n):
    covered = {}
    for law in RATES:
        values, truth = shares(law, n, k, size)
        covered[law] = coverage([mean_interval(row) for row in values.tolist()], truth)
    assert min(covered.values()) >= LEAST
    assert LEAST <= np.mean(list(covered.values())) <= MOST
    assert {law for law, often in covered.items() if often > MOST} <= OFTEN[n]


@pytest.mark.parametrize("n", SIZES)
def test_win_rates_are_covered(n):
    generator, covered = np.random.default_rng(5), []
    for win, tie in ((0.5, 0.2), (0.3, 0.3), (0.3, 0.6), (0.7, 0.1), (0.45, 0.05)):
        drawn = generator.random((REPEATS, n))
        outcomes = np.where(drawn < win, "win", np.where(drawn < win + tie, "tie", "loss")).tolist()
        covered.append(coverage([preference(row).win_rate for row in outcomes], win + tie / 2))
    assert LEAST <= min(covered) and max(covered) <= MOST + 0.005, "the simulation's own error is 0.003"
    assert LEAST <= np.mean(covered) <= MOST


def changes(n):
    """Numbers of problems gained, lost and neither, of n."""
    return [(gained, lost, n - gained - lost) for gained in range(n + 1) for lost in range(n + 1 - gained)]


@pytest.mark.parametrize("n", SIZES)
def test_differences_on_the_same_problems_are_covered(n):
    """Exactly, for all chances to gain and to lose in steps of 0.05 by which two or more problems change on average."""
    cells = changes(n)
    found = [difference_interval(*outcomes(0, gained, lost, same)) for gained, lost, same in cells]
    count = [math.factorial(n) // math.prod(map(math.factorial, cell)) for cell in cells]
    covered = {}
    for gain, loss in itertools.product(np.arange(0, 1, 0.05), repeat=2):
        if 2 / n <= gain + loss < 1:
            odds = (gain, loss, 1 - gain - loss)
            chances = [c * math.prod(map(pow, odds, cell)) for c, cell in zip(count, cells, strict=True)]
            inside = [one.low - 1e-12 <= gain - loss <= one.high + 1e-12 for one in found]
            covered[round(gain, 2), round(loss, 2)] = float(np.dot(chances, inside))
    assert min(covered.values()) >= LEAST
    assert LEAST <= np.mean(list(covered.values())) <= MOST
