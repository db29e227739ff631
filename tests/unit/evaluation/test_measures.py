"""What graded answers come to, by numbers worked by hand."""

import pytest

from r2vpo.evaluation import Answered, Completion, lengths, measure, measure_by_difficulty


def made(answer, correct, tokens=4, finished=True, entropy=1.0):
    return Completion(str(answer), answer, float(correct), correct, tokens, finished, entropy)


def problem(number, difficulty, greedy, *samples):
    return Answered(number, f"{number}+1=", "1", difficulty, "made", greedy, list(samples))


RIGHT, WRONG, OTHER, NONE = made("1", True), made("2", False), made("3", False), made(None, False)
PROBLEMS = [
    problem(0, "easy", RIGHT, RIGHT, RIGHT, WRONG, OTHER),
    problem(1, "easy", RIGHT, WRONG, RIGHT, WRONG, NONE),
    problem(2, "hard", WRONG, RIGHT, WRONG, NONE, NONE),
    problem(3, "hard", WRONG, NONE, NONE, NONE, NONE),
]


def test_measures_by_hand():
    found = measure(PROBLEMS, votes=True)
    assert (found.accuracy.value, found.accuracy.n) == (0.5, 4)
    assert found.mean_at_k.value == pytest.approx((2 + 1 + 1 + 0) / 16)
    # pass@2: 1 - C(2,2)/6, 1 - C(3,2)/6 twice, 0
    assert {size: pytest.approx(interval.value) for size, interval in found.pass_at.items()} == {
        1: 4 / 16,
        2: (5 / 6 + 3 / 6 + 3 / 6) / 4,
        4: 3 / 4,
    }
    # the tie of the third problem goes to its first answer, which is right; the fourth has no vote
    assert found.majority_at_k.value == pytest.approx(2 / 4)
    hard = measure_by_difficulty(PROBLEMS, votes=True)["hard"]
    assert (hard.accuracy.value, hard.majority_at_k.value, hard.pass_at[4].value) == (0.0, 0.5, 0.5)
    assert measure(PROBLEMS, votes=False).majority_at_k is None


def test_without_samples_there_is_accuracy_alone():
    found = measure([problem(0, "all", RIGHT)], votes=True)
    assert found.accuracy.value == 1.0
    assert (found.mean_at_k, found.pass_at, found.majority_at_k) == (None, {}, None)


def test_lengths_weigh_entropy_by_tokens():
    found = lengths([made("1", True, tokens=1, entropy=4.0), made("1", True, tokens=3, finished=False, entropy=0)])
    assert found == {
        "completions": 2,
        "tokens": 4,
        "mean": 2.0,
        "median": 2.0,
        "p95": 3.0,
        "truncated": 0.5,
        "entropy": pytest.approx(1.0),
    }
