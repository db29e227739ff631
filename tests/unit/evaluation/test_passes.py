"""pass@k and the majority against enumeration of what they stand for."""

import itertools
import random
from collections import Counter

import pytest

from r2vpo.evaluation import majority, pass_at_k
from r2vpo.evaluation.passes import pass_sizes


@pytest.mark.parametrize("samples", [1, 2, 5, 7])
def test_pass_at_k_is_the_share_of_the_sets_of_k_with_a_right_sample(samples):
    for correct, k in itertools.product(range(samples + 1), range(1, samples + 1)):
        grades = [True] * correct + [False] * (samples - correct)
        sets = list(itertools.combinations(grades, k))
        assert pass_at_k(correct, samples, k) == pytest.approx(sum(map(any, sets)) / len(sets), abs=1e-12)


def test_pass_at_k_is_unbiased_where_the_plain_estimate_is_not():
    # each of 6 samples is right with probability 0.3: pass@3 is 1 - 0.7^3, whatever was drawn, on average
    draw = random.Random(0)
    counts = [sum(draw.random() < 0.3 for _ in range(6)) for _ in range(20_000)]
    truth = 1 - 0.7**3
    assert sum(pass_at_k(count, 6, 3) for count in counts) / len(counts) == pytest.approx(truth, abs=0.006)
    plain = sum(1 - (1 - count / 6) ** 3 for count in counts) / len(counts)
    assert abs(plain - truth) > 0.02


def test_many_samples_do_not_overflow():
    assert pass_at_k(1, 10_000, 100) == pytest.approx(0.01)


@pytest.mark.parametrize(("correct", "samples", "k"), [(3, 2, 1), (-1, 2, 1), (1, 2, 3), (1, 2, 0)])
def test_what_is_out_of_range_is_refused(correct, samples, k):
    with pytest.raises(ValueError, match="k from 1 to n"):
        pass_at_k(correct, samples, k)


@pytest.mark.parametrize(
    ("samples", "sizes"), [(0, []), (1, [1]), (4, [1, 2, 4]), (6, [1, 2, 4, 6]), (16, [1, 2, 4, 8, 16])]
)
def test_sizes(samples, sizes):
    assert pass_sizes(samples) == sizes


def test_majority_over_all_votes_of_three_answers():
    for answers in itertools.product([None, "a", "b", "c"], repeat=5):
        place = majority(answers)
        given = [answer for answer in answers if answer is not None]
        if not given:
            assert place is None
            continue
        most = max(Counter(given).values())
        # of the answers with the most votes, the one that came first
        expected = next(number for number, answer in enumerate(answers) if answer and given.count(answer) == most)
        assert place == expected
