"""The letter of a multiple choice."""

import pytest

from r2vpo.errors import UserError
from r2vpo.rewards import load_reward


@pytest.mark.parametrize(
    ("completion", "letter"),
    [
        (r"so it is \boxed{C}.", "C"),
        (r"\boxed{c}", "C"),
        (r"\boxed{\text{(C)}}", "C"),
        (r"\boxed{C. 12 km}", "C"),
        (r"\boxed{A} or rather \boxed{C}", "C"),
        (r"The answer is A. \boxed{C}", "C"),
        (r"\boxed{12}", None),
        ("The answer is C.", "C"),
        ("The answer is (C), since 3 > 2", "C"),
        ("**Answer: C**", "C"),
        ("Answer:\nC", "C"),
        ("Is the answer A? No, the answer is C", "C"),
        ("The answer is Both", None),
        ("the answer is a matter of taste", None),
        ("C", "C"),
        (" (c) ", "C"),
        ("C) because", "C"),
        ("A cat sat on the mat", None),
        ("", None),
        ([{"role": "assistant", "content": "Answer: C"}], "C"),
    ],
)
def test_the_letter_is_found(completion, letter):
    letters = "ABCDEFGHIJ"
    found = load_reward("choice")(prompts=["p"] * 10, completions=[completion] * 10, answer=list(letters))
    assert found == [float(right == letter) for right in letters]


def test_letters_and_answers_that_do_not_fit():
    narrow = load_reward({"name": "choice", "letters": "AB"})
    assert narrow(prompts=["p"], completions=["The answer is C"], answer=["b"]) == [0.0]
    with pytest.raises(ValueError, match="the answer 'C' is none of the letters AB"):
        narrow(prompts=["p"], completions=[""], answer=["C"])
    with pytest.raises(UserError, match=r"reward\.letters"):
        load_reward({"name": "choice", "letters": "A-Z"})
