"""Statistics against numbers worked out by hand, published ones, and what rliable gave for the same scores."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from r2vpo.experiments import statistics as st

# Ten runs of two methods on three tasks, and what rliable 1.2.0 (scipy 1.17.1) makes of them:
# metrics.aggregate_iqm and metrics.probability_of_improvement.
ONE = np.array(
    [[0.62, 0.568, 0.675], [0.742, 0.814, 0.711], [0.645, 0.622, 0.775], [0.863, 0.727, 0.577], [0.604, 0.86, 0.72],
     [0.527, 0.692, 0.584], [0.637, 0.651, 0.629], [0.755, 0.694, 0.641], [0.741, 0.783, 0.536], [0.674, 0.602, 0.683]]
)  # fmt: skip
OTHER = np.array(
    [[0.457, 0.653, 0.644], [0.604, 0.493, 0.591], [0.486, 0.447, 0.684], [0.484, 0.826, 0.757], [0.35, 0.691, 0.485],
     [0.655, 0.657, 0.352], [0.615, 0.612, 0.794], [0.473, 0.761, 0.485], [0.6, 0.524, 0.867], [0.735, 1.015, 0.746]]
)  # fmt: skip
RLIABLE = {"iqm of one": 0.672625, "iqm of other": 0.6080625, "probability of improvement": 0.6383333333333333}


def test_the_interquartile_mean_leaves_out_a_quarter_at_each_end() -> None:
    assert st.interquartile_mean(np.array([8.0, 1, 2, 3, 4, 5, 6, 700])) == pytest.approx((3 + 4 + 5 + 6) / 4)
    assert st.interquartile_mean(np.array([1.0, 2, 3, 4, 100])) == pytest.approx(3.0)
    assert st.interquartile_mean(np.array([1.0, 2, 6])) == pytest.approx(3.0), "fewer than four: the mean"
    table = np.array([[1.0, 10], [2, 20], [3, 30], [400, -5]])
    assert st.interquartile_mean(table, axis=0) == pytest.approx([2.5, 15.0])


def test_numbers_of_rliable() -> None:
    assert st.iqm(ONE).value == pytest.approx(RLIABLE["iqm of one"], abs=1e-12)
    assert st.iqm(OTHER).value == pytest.approx(RLIABLE["iqm of other"], abs=1e-12)
    improvement = st.probability_of_improvement(ONE, OTHER, draws=200)
    assert improvement.value == pytest.approx(RLIABLE["probability of improvement"], abs=1e-12)


def test_an_interval_has_the_ends_of_the_whole_bootstrap_distribution() -> None:
    sample = np.array([0.1, 0.4, 0.5, 0.9])
    means = sorted(np.mean(draw) for draw in itertools.product(sample, repeat=4))
    estimate = st.bootstrap(lambda x: x[..., 0].mean(axis=-1), sample, draws=40_000)
    assert estimate.value == pytest.approx(sample.mean()) and estimate.n == 4
    assert estimate.low == pytest.approx(means[int(0.025 * 256)], abs=0.013)
    assert estimate.high == pytest.approx(means[int(0.975 * 256)], abs=0.013)


def test_intervals_cover_the_truth_about_as_often_as_they_say() -> None:
    generator = np.random.default_rng(2)
    samples = generator.normal(0.0, 1.0, (200, 20))
    found = [st.iqm(sample, draws=400) for sample in samples]
    covered = np.mean([e.low <= 0.0 <= e.high for e in found])
    assert 0.86 <= covered <= 0.99


def test_strata_are_drawn_one_by_one() -> None:
    rows = st.resampled(5, 2, draws=50)
    assert rows.shape == (50, 5, 2) and not np.array_equal(rows[..., 0], rows[..., 1])
    # tasks on very different levels: what varies is within each, so the interval of the mean stays narrow
    scores = np.stack([np.array([0.0, 0.1, 0.2, 0.3]), 100 + np.array([0.0, 0.1, 0.2, 0.3])], axis=1)
    estimate = st.bootstrap(lambda x: x.mean(axis=(-1, -2)), scores, draws=2000)
    assert 50.0 < estimate.low < estimate.value < estimate.high < 50.4


def test_seeds_are_paired() -> None:
    theirs = np.array([0.1, 0.9, 0.5, 0.3, 0.7])
    same = st.paired_difference(theirs + 0.02, theirs)
    assert (same.value, same.low, same.high) == pytest.approx((0.02, 0.02, 0.02))
    swapped = st.paired_difference((theirs + 0.02)[::-1], theirs)
    assert swapped.low < -0.3 and swapped.high > 0.3, "the same numbers at other seeds say nothing"
    ratio = st.ratio_of_medians(theirs / 2, theirs)
    assert (ratio.value, ratio.low, ratio.high) == pytest.approx((0.5, 0.5, 0.5))


def test_draws_are_the_same_every_time() -> None:
    assert st.iqm(ONE[:, 0]) == st.iqm(ONE[:, 0])
    assert st.iqm(ONE[:, 0]) != st.iqm(ONE[:, 0], seed=1)


@pytest.mark.parametrize("samples", [(), (np.ones(3), np.ones(2)), (np.ones(0),)])
def test_samples_that_do_not_fit_are_refused(samples: tuple[st.Array, ...]) -> None:
    with pytest.raises(ValueError, match="pass samples of the same seeds"):
        st.bootstrap(lambda *x: x[0][..., 0, 0], *samples)


def test_the_probability_of_improvement_counts_all_pairs() -> None:
    # 1 against 2, 2, 4: 0; 2: two ties; 3: above two of them
    x, y = np.array([1.0, 2, 3]), np.array([2.0, 2, 4])
    assert st.probability_of_improvement(x, y).value == pytest.approx((0 + 1 + 2) / 9)
    assert st.probability_of_improvement(y, x).value == pytest.approx(1 - 3 / 9)
    better = st.probability_of_improvement(x + 5, y)
    assert (better.value, better.low, better.high) == (1.0, 1.0, 1.0)


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


def test_medians_keep_runs_that_never_arrived() -> None:
    inf = math.inf
    assert st.median_time(np.array([4.0, inf, 2.0, 8.0, inf])).value == 8.0
    assert st.median_time(np.array([4.0, inf, 2.0, 8.0])).value == 6.0
    assert st.median_time(np.array([4.0, inf, 2.0, inf])).value == inf
    all_but_one = st.median_time(np.array([2.0, 4.0, 6.0, 8.0, inf]))
    assert all_but_one.value == 6.0 and all_but_one.low == 2.0 and all_but_one.high == inf


def test_ratios_of_medians_with_runs_that_never_arrived() -> None:
    inf = math.inf
    arrived, never = np.array([2.0, 4.0, 6.0]), np.full(3, inf)
    assert st.ratio_of_medians(arrived, never).value == 0.0
    assert st.ratio_of_medians(never, arrived).value == inf
    unknown = st.ratio_of_medians(never, never)
    assert math.isnan(unknown.value) and (unknown.low, unknown.high) == (0.0, inf)
    mostly = st.ratio_of_medians(np.array([2.0, 4, inf, inf, 6]), np.array([4.0, 8, inf, inf, 12]))
    assert mostly.value == pytest.approx(0.5)
    assert (mostly.low, mostly.high) == (0.0, inf), "draws in which neither arrives widen it at both ends"


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
