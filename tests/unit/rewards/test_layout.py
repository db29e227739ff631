"""The form of a completion."""

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.layout import has_think_answer


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("<think>2 + 2</think><answer>4</answer>", True),
        ("\n<think>\n2 + 2\n</think>\n\n<answer>4</answer>\n", True),
        # The template of the chat has opened the first tag.
        ("2 + 2</think><answer>4</answer>", True),
        ("\n2 + 2\n</think>\n<answer>4</answer>", True),
        ("</think><answer>4</answer>", False),
        ("<answer>4</answer></think>", False),
        ("2 <think> 2</think><answer>4</answer>", False),
        ("2</think><answer><think>4</answer>", False),
        ("2</think>2</think><answer>4</answer>", False),
        ("<think><think>2</think><answer>4</answer>", False),
        ("<think>2 + 2</think> so <answer>4</answer>", False),
        ("<think>2 + 2</think><answer>4</answer> done", False),
        ("Well, <think>2 + 2</think><answer>4</answer>", False),
        ("<think>2</think><think>2</think><answer>4</answer>", False),
        ("<think>2<answer>4</answer></think>", False),
        ("<answer>4</answer><think>2</think>", False),
        ("<think> </think><answer>4</answer>", False),
        ("<think>2</think><answer></answer>", False),
        ("<think>2</think><answer>4", False),
        ("4", False),
        ("", False),
    ],
)
def test_think_answer(text, fits):
    assert has_think_answer(text) is fits
    reward = load_reward({"name": "format", "layout": "think_answer"})
    assert reward(prompts=["p"], completions=[text]) == [float(fits)]


def test_a_pattern_matches_the_whole_completion_and_may_hang():
    reward = load_reward({"name": "format", "pattern": r"(a+)+b|x.y", "workers": 1, "seconds_per_item": 0.3})
    texts = ["aab", "aabc", "x\ny", "a" * 60, "ab", "a" * 200_000 + "b"]
    assert reward(prompts=["p"] * 6, completions=texts) == [1.0, 0.0, 1.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "reward.needs layout or pattern"),
        ({"layout": "think_answer", "pattern": "a"}, "and not both"),
        ({"pattern": "("}, r"reward\.pattern: is not a regular expression"),
        ({"layout": "xml"}, r"reward\.layout"),
    ],
)
def test_options_that_do_not_fit(options, said):
    with pytest.raises(UserError, match=said):
        load_reward({"name": "format", **options})
