"""Wins, ties, losses and the sign test, by enumeration of every sequence of coin flips."""

import itertools

import pytest

from r2vpo.evaluation import outcomes_by_score, preference, sign_test


@pytest.mark.parametrize("n", [1, 2, 5, 8])
def test_sign_test_counts_the_flips_that_are_as_uneven(n):
    for wins in range(n + 1):
        gap = abs(2 * wins - n)
        as_uneven = sum(abs(2 * sum(flips) - n) >= gap for flips in itertools.product([0, 1], repeat=n))
        assert sign_test(wins, n - wins) == pytest.approx(as_uneven / 2**n, abs=1e-12)


def test_sign_test_ends():
    assert sign_test(0, 0) == 1.0
    assert sign_test(3, 3) == 1.0
    assert sign_test(3000, 2900) == pytest.approx(0.1976, abs=5e-4)  # normal: z = 99 / sqrt(5900)
    assert sign_test(9, 1) == pytest.approx(2 * 11 / 1024)


def test_win_rate_counts_ties_half():
    outcomes = outcomes_by_score([1, 0, 0.5, 1, 0], [0, 0, 0.5, 0, 1])
    assert outcomes == ["win", "tie", "tie", "win", "loss"]
    found = preference(outcomes)
    assert (found.wins, found.ties, found.losses) == (2, 2, 1)
    assert found.win_rate.value == pytest.approx(0.6) and found.win_rate.n == 5
    assert found.win_rate.low is None, "five prompts are too few"
    many = preference(4 * outcomes).win_rate
    assert many.low < 0.6 < many.high
    assert found.p_value == sign_test(2, 1) == 1.0
    assert found.to_json()["wins"] == 2 and found.to_json()["win_rate"]["value"] == pytest.approx(0.6)


def test_changing_sides_turns_the_win_rate_round():
    ours, theirs = [3.0, 1.0, 2.0, 2.0], [1.0, 2.0, 2.0, 0.0]
    forth, back = preference(outcomes_by_score(ours, theirs)), preference(outcomes_by_score(theirs, ours))
    assert forth.win_rate.value == pytest.approx(1 - back.win_rate.value)
    assert (forth.wins, forth.losses, forth.p_value) == (back.losses, back.wins, back.p_value)
