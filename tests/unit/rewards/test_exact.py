"""The first line of an answer as a text."""

import pytest

from r2vpo.rewards import load_reward


@pytest.mark.parametrize(
    ("completion", "answer", "value"),
    [
        (" 4\n", "4", 1.0),
        (" 4\n5", "4", 1.0),
        (" 5\n4", "4", 0.0),
        ("4.", "4", 1.0),
        ("Answer: 4", "4", 1.0),
        ("the final answer is: 4", "4", 1.0),
        ("= 4", "4", 1.0),
        ("The answer is Paris.", "paris", 1.0),
        ("The answer is **Paris**.", "Paris", 1.0),
        (r"The answer is \boxed{Paris}.", "Paris", 1.0),
        ("1,234", "1234", 1.0),
        ("\u22124", "-4", 1.0),
        ("-4", "4", 0.0),
        ("4 or 5", "4", 0.0),
        ("4.0", "4", 0.0),
        ("44", "4", 0.0),
        ("", "4", 0.0),
        ("", "", 1.0),
        # What looks like the words before an answer may be a part of it.
        ("Answers vary", "Answers vary", 1.0),
        ("answerable", "answerable", 1.0),
        ("able", "answerable", 0.0),
        ("A: yes", "A: yes", 1.0),
        ("yes", "A: yes", 1.0),
        ("B: yes", "A: yes", 0.0),
        ("= 3", "= 3", 1.0),
        ("the answer is blue", "The answer is blue", 1.0),
        ("Blue.", "The answer is blue", 1.0),
        ("The answer is", "Answer:", 0.0),
        ("**Answer:** blue", "blue", 1.0),
        ("#### 72", "72", 1.0),
        ("My answer is 'blue'.", "blue", 1.0),
        ("", ".", 0.0),
        (".", ".", 1.0),
        (r"\boxed{\text{Blue}}", "blue", 1.0),
        ("\u20135", "-5", 1.0),
        ("'a' or 'b'", "a' or 'b", 0.0),
        ("<think>c</think>a\n\nb", "a\nb", 1.0),
        ("a\nc", "a\nb", 0.0),
        # Thoughts and tags.
        ("<think>5</think>\n4", "4", 1.0),
        ("5\n</think>\n\n4", "4", 1.0),
        ("<think>4</think>\n5", "4", 0.0),
        ("<think>4", "4", 0.0),
        ("<think>5</think>So: <answer>4</answer>", "4", 1.0),
        ([{"role": "assistant", "content": " 4\n"}], "4", 1.0),
    ],
)
def test_exact(completion, answer, value):
    assert load_reward("exact")(prompts=["p"], completions=[completion], answer=[answer]) == [value]
