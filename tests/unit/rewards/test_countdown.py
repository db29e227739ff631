"""The numbers game: right, wrong and hostile answers, fixed by hand."""

import json
import time
from fractions import Fraction

import pytest

from r2vpo.data.rows import PromptRow
from r2vpo.rewards import load_reward
from r2vpo.rewards.arithmetic import evaluate

KNOWN = json.dumps({"nums": [44, 19, 35], "target": 98})


def score(completion, known=KNOWN, **options):
    (value,) = load_reward({"name": "countdown", **options})(
        prompts=["p"], completions=[completion], answer=["98"], metadata=[known]
    )
    return value


@pytest.mark.parametrize(
    "completion",
    [
        "44 + 19 + 35",
        "(44 + 19) + 35",
        "44+19+35 = 98",
        "44 + 19 - (-35)",
        "44 + 19 + 35\n\nThey add up.",
        "1. 44 + 19 + 35 = 98",
        "44\uff0b19\uff0b35",
        "$44 + 19 + 35 = 98$",
        "The answer is 44 + 19 + 35.",
        "44 + 19 is 63, and 63 + 35 is 98. So the answer is 44 + 19 + 35 = 98.",
        r"So \boxed{44 + 19 + 35 = 98}.",
        "<think>44 + 54</think><answer>44 + 19 + 35</answer>",
        "44 + 54</think>\n**44 + 19 + 35**",
        "<answer>98 = 44 + 19 + 35</answer>",
        "<answer>**44 + 19 + 35**</answer>",
    ],
)
def test_right_answers(completion):
    assert score(completion) == 1.0


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "98",
        "The target is 98.",
        r"\boxed{98}",
        "44 + 54",
        "44 + 19",
        "44 + 19 + 36",
        "44 + 19 + 35 + 0",
        "44 + 19 + 35 + 35 - 35",
        "44+19+35 = 99",
        "98 = 98",
        "44 + 54 = 44 + 19 + 35",
        "<answer>4419 + 35</answer>",
        "<answer>44 + 19 + 35 // 1</answer>",
        "<answer>44.0 + 19 + 35</answer>",
        "<answer>44 + 19 + 35</answer><answer>98</answer>",
        "<think>44 + 19 + 35</think>98",
        "<think>44 + 19 + 35",
        "<answer>9**9**9**9</answer>",
        "<answer>9^9^9^9</answer>",
        "<answer>__import__('os').system('true')</answer>",
        "<answer>(44 + 19 + 35</answer>",
        "<answer>98/(44-44)</answer>",
    ],
)
def test_wrong_answers(completion):
    assert score(completion) == 0.0


def test_quotients_are_exact():
    known = json.dumps({"nums": [3, 8, 8, 3], "target": 24})
    assert score("8 / (3 - 8 / 3)", known) == 1.0
    assert score("8 \u00f7 (3 \u2212 8 \u00f7 3)", known) == 1.0
    assert score(r"\boxed{\frac{8}{3-\frac{8}{3}}}", known) == 1.0
    assert score(r"\boxed{8 \div \left(3 - 8 \div 3\right)}", known) == 1.0
    assert score("8 / (3 - 8 / 3) * 1", known) == 0.0
    assert score("1 / 3 * 3", json.dumps({"nums": [1, 3, 3], "target": 1})) == 1.0
    assert score("5 - -3", json.dumps({"nums": [5, -3], "target": 8})) == 1.0
    assert score("5 + 3", json.dumps({"nums": [5, -3], "target": 8})) == 0.0


def test_numbers_may_be_left_out_where_that_is_set():
    known = json.dumps({"nums": [3, 8, 8, 24], "target": 24})
    assert score("3 x 8", known) == 0.0
    assert score("3 x 8", known, use_all=False) == 1.0
    assert score("<answer>24</answer>", known, use_all=False) == 1.0
    assert score("3 * 8 + 3 - 3", known, use_all=False) == 0.0


def test_rows_without_a_game_have_no_score_and_are_named():
    assert score("44 + 19 + 35", "{}") is None
    rows = [PromptRow("p", "98", metadata=known) for known in (json.loads(KNOWN), {}, {"nums": ["1"], "target": 1})]
    said = load_reward("countdown").unreadable(rows)
    assert [one is None for one in said] == [True, False, False]
    assert "use data.schema countdown" in said[1]


def test_evaluate():
    made = evaluate("-(2 - 5) * 4 / 3")
    assert made.value == Fraction(4) and made.operations == 3
    assert made.numbers == [(2, False), (5, False), (4, False), (3, False)]
    assert evaluate("3 - -7").numbers == [(3, False), (7, True)]
    assert evaluate("1 / 3").value == Fraction(1, 3)
    for text in (
        "",
        "1 +",
        "1 2",
        "(1",
        "1)",
        "1 / 0",
        "1.5",
        "1e3",
        "2**3",
        "1, 2",
        "a",
        "9" * 31,
        "(" * 31 + "1" + ")" * 31,
    ):
        with pytest.raises(ValueError):
            evaluate(text)


@pytest.mark.parametrize("text", ["(", "1+", "-", r"\frac{", "9*", "1 ", "answer ", "<answer>(", "=", "\\boxed{"])
def test_hostile_texts_take_no_time(text):
    start = time.perf_counter()
    assert score(text * 20_000) == 0.0
    assert score("<answer>" + text * 240 + "</answer>") == 0.0
    assert time.perf_counter() - start < 1.0
