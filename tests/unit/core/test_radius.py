"""The trust radius by hand."""

import math

import pytest

from r2vpo.core.radius import DELTA, FURTHEST, PRICE, informative, radius


def test_it_grows_with_the_informative_rollouts():
    assert radius(DELTA, 64.0, 0.0) == pytest.approx(1.0)
    assert radius(0.01, 3.0, 0.0) == pytest.approx(0.03)


def test_a_gain_on_held_out_rows_widens_it_and_a_loss_does_not_narrow_it():
    assert radius(DELTA, 1.0, PRICE) == pytest.approx(math.e - 1)
    assert radius(DELTA, 1.0, 3 * PRICE) == pytest.approx(math.expm1(FURTHEST))
    assert radius(DELTA, 1.0, 0.5 * PRICE) == pytest.approx(math.expm1(0.25))
    assert radius(DELTA, 64.0, -1.0) == radius(DELTA, 64.0, 0.0)
    assert radius(DELTA, 64.0, 0.3 * PRICE) == pytest.approx(1.0)


def test_the_movement_is_the_one_with_the_largest_gain_less_its_price():
    gamma = 0.5
    asked = math.log1p(radius(DELTA, 1.0, gamma))
    worth = {s / 1000: gamma * math.sqrt(s / 1000) - PRICE * s / 1000 / 2 for s in range(1, 6000)}
    assert asked == pytest.approx(max(worth, key=worth.__getitem__), abs=0.002)


def test_the_count_is_a_running_mean_of_at_least_one():
    assert informative(None, 40.0) == 40.0
    assert informative(40.0, 10.0) == pytest.approx(0.7 * 40 + 0.3 * 10)
    assert informative(None, 0.0) == 1.0
