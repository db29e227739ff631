"""Intervals against numbers worked by hand or published."""

import itertools
import math

import pytest
import torch

from r2vpo.evaluation import Interval, bootstrap_mean, difference_interval, wilson
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


def test_bootstrap_mean_is_that_of_all_resamples():
    # three problems have 27 equally likely resamples, so the exact percentiles can be written down
    values = [0.0, 0.25, 1.0]
    means = sorted(sum(draw) / 3 for draw in itertools.product(values, repeat=3))
    interval = bootstrap_mean(values)
    assert interval.value == pytest.approx(1.25 / 3) and interval.n == 3
    assert means[0] == interval.low  # probability 1/27 is above 2.5 %
    assert means[-1] == interval.high
    assert bootstrap_mean(values) == interval
    assert bootstrap_mean([0.5] * 7) == Interval(0.5, 0.5, 0.5, 7)
    with pytest.raises(ValueError, match="at least one"):
        bootstrap_mean([])


def test_bootstrap_mean_has_the_width_of_the_normal_interval():
    values = [float(i % 5 == 0) for i in range(400)]
    interval = bootstrap_mean(values)
    half = 1.96 * math.sqrt(0.2 * 0.8 / 400)
    assert interval.low == pytest.approx(0.2 - half, abs=0.004)
    assert interval.high == pytest.approx(0.2 + half, abs=0.004)
