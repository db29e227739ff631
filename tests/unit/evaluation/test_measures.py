"""What graded answers come to, by numbers worked by hand; and answers that a real, tiny model gives."""

import pytest

from r2vpo.data import PromptRow
from r2vpo.evaluation import Answered, Attempt, answer_problems, lengths, measure, measure_by_difficulty
from r2vpo.evaluation.attempts import problem_seed
from r2vpo.rewards import load_answer_finder, load_reward
from r2vpo.sampling import SharedPrefixSampler
from tests.tiny import tiny_model, tiny_tokenizer


def attempt(answer, correct, tokens=4, finished=True, entropy=1.0):
    return Attempt(str(answer), answer, float(correct), correct, tokens, finished, entropy)


def problem(number, difficulty, greedy, *samples):
    return Answered(number, f"{number}+1=", "1", difficulty, "made", greedy, list(samples))


RIGHT, WRONG, OTHER, NONE = attempt("1", True), attempt("2", False), attempt("3", False), attempt(None, False)
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
    found = lengths(
        [attempt("1", True, tokens=1, entropy=4.0), attempt("1", True, tokens=3, finished=False, entropy=0)]
    )
    assert (found.tokens, found.mean, found.median, found.p95, found.truncated) == (4, 2.0, 2.0, 3.0, 0.5)
    assert found.entropy == pytest.approx(1.0)


ROWS = [PromptRow(f"{i}+{i}=", str(2 * i), difficulty="even" if i % 2 == 0 else "odd") for i in range(6)]


def answers(rows, seed=3, samples=5):
    sampler = SharedPrefixSampler(tiny_model(), eos_token_ids=[1], pad_token_id=0, max_new_tokens=6, entropy=True)
    return answer_problems(
        sampler,
        tiny_tokenizer(),
        rows,
        load_reward("exact"),
        samples=samples,
        seed=seed,
        find_answer=load_answer_finder("exact"),
    )


def test_a_problems_samples_depend_on_seed_and_prompt_alone():
    together = answers(ROWS)
    assert [one.problem for one in together] == list(range(6))
    assert all(len(one.samples) == 5 for one in together)
    for row, one in zip(ROWS, together, strict=True):
        (alone,) = answers([row])
        assert [a.text for a in alone.samples] == [a.text for a in one.samples]
        assert one.greedy.text == alone.greedy.text
    assert answers(ROWS) == together
    texts = [[a.text for a in one.samples] for one in together]
    assert texts != [[a.text for a in one.samples] for one in answers(ROWS, seed=4)]
    assert len({problem_seed(0, row) for row in ROWS}) == len(ROWS)
    assert any(a.entropy > 0 for one in together for a in one.samples)


def test_a_record_is_read_back_equal():
    for one in answers(ROWS[:2]):
        assert Answered.from_json(one.to_json()) == one
