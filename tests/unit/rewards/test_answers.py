"""The answer that a completion votes for: equal exactly where a vote should be."""

import pytest

from r2vpo.rewards import load_answer_finder


@pytest.mark.parametrize(
    ("reward", "completion", "answer"),
    [
        ("exact", " Answer: 1,042.\nmore", "1042"),
        ("exact", "\n\n", None),
        ("reasoning_gym", "The Answer is RED", "red"),
        ("numeric", "about 1/2 of it", "0.5"),
        ("numeric", "none", None),
        ("math", r"so \boxed{ 42 }.", "42.0"),
        ("math", r"so \boxed{1} and \boxed{\dfrac{1}{2}}", r"\frac{1}{2}"),
        ("math", r"\boxed{\left( 1, 2 \right)}", "(1,2)"),
        ("math", "First 3, so the answer is 1,042.", "1042.0"),
        ("math", "I do not know", None),
        ("choice", "The answer is (B).", "B"),
        ("choice", "who knows", None),
        ("choice", "<think>The answer is (A).</think>B", "B"),
        ("countdown", "<think>1 + 1</think>So it is 3 \u00d7 (4 - 2) = 6.", "3*(4-2)=6"),
        ("countdown", "no idea", None),
    ],
)
def test_answers(reward, completion, answer):
    assert load_answer_finder(reward)(completion) == answer
    assert load_answer_finder(reward)([{"role": "assistant", "content": completion}]) == answer


def test_rewards_without_an_answer_have_no_finder():
    assert load_answer_finder({"name": "format", "layout": "think_answer"}) is None
    assert load_answer_finder("tests.tiny:even_digits") is None
