"""Statistics compared with hand-computed and published numbers; the coverage of intervals, by simulation."""

from __future__ import annotations

import math

import numpy as np
import pytest

from r2vpo.compare import statistics as st
from r2vpo.intervals import Interval

INF = math.inf
# Distributions of a run's score: each takes a generator and a shape, and returns scores.
LAWS = {
    "normal": lambda g, shape: g.normal(0.8, 0.05, shape),
    "skewed at a ceiling": lambda g, shape: g.beta(20, 1, shape),
    "heavy tails": lambda g, shape: g.standard_t(3, shape),
    "one in ten collapses": lambda g, shape: _mixture(g, shape, 0.1),
    "two in five collapse": lambda g, shape: _mixture(g, shape, 0.4),
    "two levels": lambda g, shape: np.where(g.random(shape) < 0.45, 0.5, 0.9) + 0.03 * g.normal(size=shape),
    "two levels of nearly one half": lambda g, s: np.where(g.random(s) < 0.49, 0.5, 0.9) + 0.03 * g.normal(size=s),
}
REPEATS = 2000


def _mixture(generator: np.random.Generator, shape: tuple[int, ...], collapsing: float) -> st.Array:
    """Scores around 0.9, a share of which has collapsed to below 0.3."""
    kept = 0.9 + 0.03 * generator.normal(size=shape)
    return np.where(generator.random(shape) < collapsing, 0.3 * generator.random(shape), kept)


def coverage(found: list[Interval], truth: float) -> float:
    return float(np.mean([e.low is not None and e.high is not None and e.low <= truth <= e.high for e in found]))


@pytest.mark.parametrize("n", [5, 6, 7, 9, 10])
@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_the_median_covers(law: str, n: int) -> None:
    generator = np.random.default_rng(1)
    truth = float(np.median(LAWS[law](generator, (400_000,))))
    covered = coverage([st.median(scores) for scores in LAWS[law](generator, (REPEATS, n))], truth)
    assert 0.92 <= covered <= 0.98


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize("law", LAWS)
def test_the_interval_of_the_paired_difference_covers(law: str, n: int) -> None:
    """Both methods share the effect of the seed; ours is 0.02 better, with its own variation from seed to seed."""
    generator = np.random.default_rng(2)
    own = LAWS[law]
    truth = 0.02 + float(np.median(own(generator, (400_000,))))
    seeds = generator.normal(0, 0.2, (REPEATS, n))
    ours = seeds + 0.02 + own(generator, (REPEATS, n))
    found = [st.paired_difference(x, y) for x, y in zip(ours, seeds, strict=True)]
    assert 0.92 <= coverage(found, truth) <= 0.98


@pytest.mark.parametrize("n", [5, 10])
@pytest.mark.parametrize(("spread", "budget"), [(0.4, INF), (0.8, INF), (0.4, 4000.0)])
def test_the_intervals_of_times_to_a_target_cover(spread: float, budget: float, n: int) -> None:
    """Times on a grid of rounds, some of them never reached: a median, and the ratio of two methods' times."""
    generator = np.random.default_rng(3)

    def times(runs: int) -> st.Array:
        shared = generator.normal(size=(runs, n, 1))
        logs = np.log([2100.0, 3000.0]) + spread * (0.8 * shared + 0.6 * generator.normal(size=(runs, n, 2)))
        found = np.ceil(np.exp(logs) / 64) * 64
        return np.where(found > budget, INF, found)

    many, few = times(40_000).reshape(-1, 2), times(REPEATS)
    median = float(np.median(many[:, 0]))
    assert 0.92 <= coverage([st.median(run[:, 0]) for run in few], median) <= 0.98
    with np.errstate(invalid="ignore"):
        ratios = many[:, 0] / many[:, 1]
    low, high = (float(np.median(np.where(np.isnan(ratios), end, ratios))) for end in (0.0, INF))
    found = [st.paired_ratio(run[:, 0], run[:, 1]) for run in few]
    for truth in {low, high}:
        assert 0.92 <= coverage(found, truth) <= 0.985


@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_fewer_than_five_seeds_have_a_value_and_no_interval(n: int) -> None:
    scores = np.arange(n, dtype=float)
    for estimate in (st.median(scores), st.paired_difference(scores, 0 * scores), st.paired_ratio(scores, scores + 1)):
        assert (estimate.low, estimate.high, estimate.n) == (None, None, n)
    assert st.median(scores).value == np.median(scores)


def test_the_median_and_the_ends_by_hand() -> None:
    five = st.median(np.array([5.0, 1, 4, 2, 30]))
    assert (five.value, five.low, five.high) == (4.0, 1.0, 30.0), "of five the range: it covers 1 - 2 / 32"
    # Of ten, the 2nd to the 9th cover 1 - 22 / 1024, the 3rd to the 8th 1 - 112 / 1024.
    ten = st.median(np.arange(1.0, 11.0))
    part = (1 - 22 / 1024 - 0.95) / (90 / 1024)
    share = 8 * part / (2 + 6 * part)
    assert (ten.value, ten.low, ten.high) == pytest.approx((5.5, 2 + share, 9 - share))
    # Of six, the range covers 1 - 2 / 64, the next 1 - 14 / 64: halfway between is less than 92 %, so the range stays.
    six = st.median(np.arange(1.0, 7.0))
    assert (six.value, six.low, six.high) == (3.5, 1.0, 6.0)
    # Hettmansperger and Sheather's interpolation is the same from either side, and moves with the scores.
    turned = st.median(-np.arange(1.0, 11.0))
    assert (turned.low, turned.high) == pytest.approx((-9 + share, -2 - share))


def test_two_levels_are_covered_whatever_their_shares() -> None:
    """Computed exactly for the hardest case: half of the scores on each level, the median just below the upper one."""
    for n in range(st.FEWEST_SEEDS, 41):
        covered = 0.0
        for below in range(n + 1):
            found = st.median(np.where(np.arange(n) < below, 0.0, 1.0))
            assert found.low is not None and found.high is not None
            covered += math.comb(n, below) / 2**n * (found.low < 1.0 <= found.high)
        assert 0.92 <= covered <= 0.98, n


def test_seeds_are_paired() -> None:
    theirs = np.array([0.1, 0.9, 0.5, 0.3, 0.7])
    same = st.paired_difference(theirs + 0.02, theirs)
    assert (same.value, same.low, same.high) == pytest.approx((0.02, 0.02, 0.02))
    swapped = st.paired_difference((theirs + 0.02)[::-1], theirs)
    assert swapped.low is not None and swapped.low < -0.3 and swapped.high is not None and swapped.high > 0.3
    ratio = st.paired_ratio(theirs / 2, theirs)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_samples_that_do_not_fit_are_refused() -> None:
    for ours, theirs in ((np.ones(3), np.ones(2)), (np.ones((2, 2)), np.ones((2, 2)))):
        with pytest.raises(ValueError, match="one of each for every seed"):
            st.paired_difference(ours, theirs)
        with pytest.raises(ValueError, match="one of each for every seed"):
            st.paired_ratio(ours, theirs)
    with pytest.raises(ValueError, match="at least one seed"):
        st.median(np.ones(0))


def test_the_probability_of_improvement_counts_all_pairs() -> None:
    # 1 against 2, 2, 4: 0; 2: two ties; 3: above two of them
    x, y = np.array([1.0, 2, 3]), np.array([2.0, 2, 4])
    assert st.probability_of_improvement(x, y) == pytest.approx((0 + 1 + 2) / 9)
    assert st.probability_of_improvement(y, x) == pytest.approx(1 - 3 / 9)
    assert st.probability_of_improvement(x + 5, y) == 1.0


def test_wins_by_seed() -> None:
    assert st.share_of_wins(np.array([1.0, 2, 3, 4]), np.array([0.0, 2, 4, 1])) == pytest.approx(2.5 / 4)


def test_the_area_is_a_mean_height() -> None:
    # 0.2 to 0.6 over one unit, 0.6 over three
    assert st.area_under_curve(np.array([0.0, 1, 4]), np.array([0.2, 0.6, 0.6])) == pytest.approx((0.4 + 1.8) / 4)
    assert st.area_under_curve(np.array([100.0, 200]), np.array([0.5, 0.5])) == pytest.approx(0.5)
    for x, y in (([0.0], [1.0]), ([0.0, 0.0], [1.0, 1.0]), ([0.0, 2, 1], [1.0, 1, 1]), ([0.0, 1], [1.0])):
        with pytest.raises(ValueError, match="two points or more"):
            st.area_under_curve(np.array(x), np.array(y))


def test_the_time_to_a_target_is_the_first_measurement_at_it() -> None:
    x, y = np.array([0.0, 10, 20, 30]), np.array([0.1, 0.9, 0.7, 0.95])
    assert st.time_to_target(x, y, 0.9) == 10.0
    assert st.time_to_target(x, y, 0.91) == 30.0
    assert st.time_to_target(x, y, 0.96) == math.inf


def test_medians_include_runs_that_never_reached_the_target() -> None:
    assert st.median(np.array([4.0, INF, 2.0, 8.0, INF])).value == 8.0
    assert st.median(np.array([4.0, INF, 2.0, 8.0])).value == 6.0
    assert st.median(np.array([4.0, INF, 2.0, INF])).value == INF
    all_but_one = st.median(np.array([2.0, 4.0, 6.0, 8.0, INF]))
    assert (all_but_one.value, all_but_one.low, all_but_one.high) == (6.0, 2.0, INF)
    # Of ten, the lower end lies between the 2nd and the 3rd: it stays at the 2nd where the 3rd is infinite.
    late = st.median(np.array([2.0, 4.0] + [INF] * 8))
    assert (late.value, late.low, late.high) == (INF, 4.0, INF)


def test_ratios_with_runs_that_never_reached_the_target() -> None:
    arrived, never = np.array([2.0, 4.0, 6.0, 8.0, 10.0]), np.full(5, INF)
    assert st.paired_ratio(arrived, never).value == 0.0
    assert st.paired_ratio(never, arrived).value == INF
    unknown = st.paired_ratio(never, never)
    assert math.isnan(unknown.value) and (unknown.low, unknown.high) == (0.0, INF)
    mostly = st.paired_ratio(np.array([2.0, 4, INF, INF, INF]), np.array([4.0, 8, INF, INF, INF]))
    assert math.isnan(mostly.value) and (mostly.low, mostly.high) == (0.0, INF), "more unknown than known"
    few = st.paired_ratio(np.array([2.0, 4, 6, 8, INF]), np.array([4.0, 8, 12, 16, INF]))
    assert (few.value, few.low, few.high) == (0.5, 0.0, INF), "the unknown one widens it at both ends"


def test_the_survival_curve_of_freireich() -> None:
    # Freireich et al. (1963), 21 patients on 6-mercaptopurine: the textbook's Kaplan-Meier estimate.
    events = [6, 6, 6, 7, 10, 13, 16, 22, 23]
    censored = [6, 9, 10, 11, 17, 19, 20, 25, 32, 32, 34, 35]
    times = np.array([*map(float, events), *[math.inf] * len(censored)])
    ends = np.array([*[40.0] * len(events), *map(float, censored)])
    x, share = st.survival_curve(times, ends)
    assert x.tolist() == [0, 6, 7, 10, 13, 16, 22, 23]
    assert share == pytest.approx([1, 0.857, 0.807, 0.753, 0.690, 0.627, 0.538, 0.448], abs=5e-4)


def test_a_survival_curve_of_equal_budgets_is_a_share() -> None:
    x, share = st.survival_curve(np.array([2.0, math.inf, 4.0, 2.0]), np.full(4, 10.0))
    assert x.tolist() == [0, 2, 4] and share == pytest.approx([1, 0.5, 0.25])
    assert st.survival_curve(np.array([math.inf]), np.array([10.0]))[1].tolist() == [1.0]
    with pytest.raises(ValueError, match="at least one run"):
        st.survival_curve(np.array([]), np.array([]))


def test_what_a_collapse_is() -> None:
    assert st.collapsed(np.array([0.3, 0.0]))
    assert st.collapsed(np.array([0.3, 0.9, 0.44]))
    assert not st.collapsed(np.array([0.3, 0.9, 0.46]))
    assert not st.collapsed(np.array([0.0, 0.0])), "nothing was lost"
