"""Where an answer is looked for: outside thoughts, in tags, in boxes."""

import time

import pytest

from r2vpo.rewards.text import first_answer, last_box, tagged_answer, text_of, without_thoughts


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("4", "4"),
        ("<think>5</think>4", "4"),
        ("5</think>4", "4"),
        ("<think>5", ""),
        ("4<think>5", "4"),
        ("a<think>5</think>b<think>6</think>c", "abc"),
        ("<think>a <think> b</think>4", "4"),
        ("5</think>6</think>4", "4"),
        ("<THINKING>5</Thinking>4", "4"),
        ("<reasoning>5</reasoning>4", "4"),
        ("[THINK]5[/THINK]4", "4"),
        ("[reasoning] 4", "[reasoning] 4"),
        ("a < think > b", "a < think > b"),
    ],
)
def test_thoughts_are_left_out(text, said):
    assert without_thoughts(text) == said


def test_tags_boxes_and_first_lines():
    assert tagged_answer("<answer>3</answer> or <answer> 4 </answer>.") == "4"
    assert tagged_answer("<answer>4") == "4"
    assert tagged_answer("4") is None
    assert last_box(r"\boxed{1} \boxed{\frac{1}{2}} \boxed{3") == r"\frac{1}{2}"
    assert last_box("{1}") is None
    assert first_answer("<think>5</think>\n\nThe final answer is: **4**.\n6") == "4"
    assert first_answer("<think>5</think><answer>\n4\n</answer>") == "4"
    assert first_answer(r"So it is \boxed{4}.") == "4"
    assert first_answer("<think>5</think>We add them.\n\nSo \\boxed{4}.") == "4"
    assert first_answer("4\nQ: 2 + 3?\nA: \\boxed{5}") == "4"
    assert first_answer("answerable") == "answerable"
    assert first_answer("Answers vary.") == "Answers vary"
    assert first_answer("") == ""


@pytest.mark.parametrize("text", ["<think>", "</think>", "<answer>", "\\boxed{", "{", "[THINK", "answer "])
def test_hostile_texts_take_no_time(text):
    start = time.perf_counter()
    first_answer(text * 20_000)
    assert time.perf_counter() - start < 1.0


def test_the_text_of_a_completion_or_a_prompt():
    assert text_of("seven") == "seven"
    assert text_of([{"role": "system", "content": "Be brief."}, {"role": "user", "content": "3 + 4?"}]) == "3 + 4?"
    assert text_of([{"role": "assistant", "content": None}]) == "" == text_of([])
