"""What rollouts of another policy are worth."""

from __future__ import annotations

import pytest
import torch

from r2vpo.replay import Rollout
from r2vpo.store.worth import LEAST_SHARE, MEMORY, ROWS_TO_JUDGE, Worth, worth_of

CAP = 2.0


def rollout(sampled: list[float], now: list[float], mask: list[bool] | None = None) -> Rollout:
    """A row whose tokens had these probabilities and now have others."""
    kept = torch.tensor(mask or [True] * len(sampled))
    mu, pi = (torch.tensor(values).log() for values in (sampled, now))
    return Rollout(torch.arange(len(sampled)), kept, mu, 0.0, 1.0, old_log_probs=pi)


def test_the_sums_of_a_row_by_hand() -> None:
    rows = [rollout([0.5, 0.25, 0.9], [0.25, 1.0, 0.1], [True, True, False]), rollout([0.8], [0.8])]
    first, second = worth_of(rows, CAP).tolist()
    c = [1 - 0.5 + 0.001, 1 - 0.25 + 0.001]
    w = [0.5, CAP]
    by_hand = [1, 2, sum(c), c[0] * w[0] + c[1] * w[1], c[0] * w[0] ** 2 + c[1] * w[1] ** 2]
    assert first == pytest.approx(by_hand, rel=1e-5)
    assert second == pytest.approx([1, 1, 0.201, 0.201, 0.201], rel=1e-5)
    share = by_hand[3] ** 2 / (by_hand[2] * by_hand[4])
    assert Worth(*first).share == pytest.approx(share * min(1.0, by_hand[3] / by_hand[2]), rel=1e-5)
    assert Worth().share == Worth(*second).share == 1.0 and Worth(1, 1, 1.0).share == 0.0


def test_answers_that_the_policy_has_given_up_are_worth_little() -> None:
    sums = worth_of([rollout([0.5] * 9, [0.005] * 9)] * ROWS_TO_JUDGE, CAP).sum(0)
    assert Worth(*sums.tolist()).share == pytest.approx(0.01, rel=1e-4)
    assert Worth(*sums.tolist()).known_worthless


@pytest.mark.parametrize("rows", [1, 2, 8, ROWS_TO_JUDGE])
def test_few_rows_at_a_time_are_enough_to_judge(rows: int) -> None:
    """A version usually gives one group in a round, and each of its rows is measured once."""
    known, now = Worth(), Worth(rows, 9.0, 1.0, 0.01, 0.0001)
    for number in range(1, ROWS_TO_JUDGE // rows + 1):
        assert not known.known_worthless and known.rows == rows * (number - 1)
        known = known.then(now)
    assert known.rows == ROWS_TO_JUDGE and known.share < LEAST_SHARE and known.known_worthless


def test_later_measurements_count_more() -> None:
    known = Worth(4, 8, 1.0, 1.0, 1.0).then(Worth(2, 3, 1.0, 0.5, 0.25))
    assert known.numbers() == [6, MEMORY * 8 + 3, MEMORY + 1, MEMORY + 0.5, MEMORY + 0.25]
    assert known.then(Worth()) == known
