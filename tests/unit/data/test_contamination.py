"""Copied problems are found, unrelated ones are not."""

from __future__ import annotations

import pytest

from r2vpo.data import PromptRow
from r2vpo.data.contamination import overlapping

PROBLEM = "A train leaves the station at nine and arrives in the next town at two in the afternoon. How long is that?"
OTHER = "A farmer has seventeen sheep, of which all but nine run away over the hill. How many sheep are left to him?"


def found(train: list[str], held_out: list[str], words: int = 13) -> set[int]:
    return overlapping([PromptRow(text, "") for text in train], [PromptRow(text, "") for text in held_out], words)


def test_a_copy_is_found_and_an_unrelated_problem_is_not() -> None:
    copies = [PROBLEM, f"Solve this. {PROBLEM.upper()} Explain.", PROBLEM.replace(" ", "\n").replace(".", " !")]
    assert found([OTHER, *copies], [PROBLEM]) == {1, 2, 3}
    assert found([OTHER], [PROBLEM]) == set()
    chat = PromptRow([{"role": "system", "content": OTHER}, {"role": "user", "content": PROBLEM}], "")
    assert overlapping([chat], [PromptRow(PROBLEM, "")], 13) == {0}
    assert overlapping([chat], [PromptRow(OTHER, "")], 13) == set(), "a system message is no problem"


@pytest.mark.parametrize(("shared", "caught"), [(12, set()), (13, {0}), (14, {0})])
def test_exactly_so_many_words_count(shared: int, caught: set[int]) -> None:
    words = " ".join(f"w{i}" for i in range(shared))
    assert found([f"a b {words} c d"], [f"e f {words} g h"]) == caught


def test_short_prompts_are_compared_whole() -> None:
    assert found(["What is 2 + 3?", "what is  2+3?", "What is 2 - 3?", "So what is 2 + 3?"], ["What is 2 + 3?"]) == {
        0,
        1,
    }


def test_a_template_is_no_overlap_but_what_it_holds_is() -> None:
    template = "Solve the following problem one step after the other and write the answer last, alone on its line: "
    held_out = [template + f"What is {i} times {i}, and {PROBLEM if i == 0 else i}?" for i in range(9)]
    assert found([template + "What is 30 times 31?"], held_out) == set()
    assert found([template + PROBLEM, template + "What is 5 times 5, and 5?"], held_out) == {0, 1}
