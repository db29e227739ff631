"""The letter of a multiple choice: statements, and what is none, fixed by hand."""

import time

import pytest

from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards import load_answer_finder, load_reward

CHOSEN = [
    # Hedges and denials.
    ("The answer could be B, but I am not sure", None),
    ("I don't think the answer is B", None),
    ("I am not sure that the answer is B", None),
    ("The answer would be B if x were 2", None),
    ("The wrong answer is B", None),
    ("The answer is C. The incorrect answer is B.", "C"),
    ("The answer is not A but B", "B"),
    ("R\u00e9ponse : B", "B"),
    ("R\u00e9ponse: C", "C"),
    ("\u7b54\u6848\u662fB\u9009\u9879", "B"),
    ("It is not A, so the answer is B", "B"),
    ("The answer would be B.", "B"),
    ("I don't choose B.", None),
    ("Never select B.", None),
    ("I refuse to go with option B.", None),
    ("Nobody says the answer is B", None),
    ("It is not the case that the answer is B.", None),
    ('"The answer is B" is false.', None),
    ("To say the answer is B is a mistake.", None),
    ("Answer B is wrong.", None),
    ("Answer choice B can be excluded.", None),
    ("The least likely answer is B.", None),
    ("One answer is B, another is C", None),
    ("B is clearly wrong.", None),
    ("Option B is definitely not the answer", None),
    ("(B) is a trap.", None),
    ("B is almost correct, but wrong.", None),
    ("Everything but B is correct.", None),
    ("Anything other than B is right.", None),
    ("The answer is B. Actually, the answer is not B.", None),
    ("The answer is A. That is wrong. The answer is B.", "B"),
    ("I would not choose A. I choose B.", "B"),
    ("It isn't A or C but B.", "B"),
    ("There is no doubt that the answer is B.", "B"),
    ("The answer is none other than B.", "B"),
    ("Since A is wrong the answer is B.", "B"),
    ("Many think the answer is A, but the answer is B.", "B"),
    # Suppositions.
    ("If the answer is B then 1=2, so it is C.", "C"),
    ("If B is correct, then D is not.", None),
    ("Assume the answer is B.", None),
    ("Whether the answer is B is unclear.", None),
    ("Were the answer B, plants would die.", None),
    ("The answer would be B were it not for C.", None),
    ("B is correct? I doubt it.", None),
    ("Some people say the answer is B.", None),
    ("If we add them up, we get 12, so the answer is B.", "B"),
    ("Suppose x = 2. Then y = 4. The answer is B.", "B"),
    # Two letters.
    ("B or maybe C", None),
    ("The answer is B and also C.", None),
    ("I choose B as well as C.", None),
    ("Answer: B (or C)", None),
    ("B and/or C are correct.", None),
    ("The answer is B; C.", None),
    ("The answer is B \u2014 or C.", None),
    ("B and C are correct.", None),
    ("A and B are wrong.", None),
    ("B C", None),
    (r"\boxed{B \text{ or } C}", None),
    (r"\boxed{(B)(C)}", None),
    (r"\boxed{B; C}", None),
    (r"\boxed{B} or \boxed{C}", None),
    (r"The answer is not \boxed{B}", None),
    ("<answer>B, maybe C</answer>", None),
    ("The answer is B and C is wrong.", "B"),
    ("The answer is B; A and C are wrong.", "B"),
    ("Among A, B, C and D, B is correct.", "B"),
    ("The answer is (B) both A and C.", "B"),
    ("(D) A and B", "D"),
    # Words around the letter.
    ("The answer is clearly B.", "B"),
    ("The answer, of course, is B.", "B"),
    ("The answer I get is B.", "B"),
    ("The answer to question 5 is B.", "B"),
    ("The answer has been found: B.", "B"),
    ("Final choice: B", "B"),
    ("My pick is B.", "B"),
    ("I'd say B.", "B"),
    ("La respuesta correcta es la B.", "B"),
    ("The answer is vitamin B.", None),
    ("B<|eot_id|>", "B"),
    ("The answer is B</s>", "B"),
    ("B, because plants use it.", "B"),
    (r"\boxed{\;B\;}", "B"),
    (r"\boxed{\text{The answer is B}}", "B"),
    (r"\boxed{\text{B. A and C are true}}", "B"),
    # Boxes.
    (r"so it is \boxed{C}.", "C"),
    (r"\boxed{c}", "C"),
    (r"\boxed{(c)}", "C"),
    (r"\boxed{\text{(C)}}", "C"),
    (r"\boxed{\textbf{(C) }\ 12}", "C"),
    (r"\boxed{\text{C}: 5}", "C"),
    (r"\boxed{\mathrm{(C)}~12}", "C"),
    (r"\boxed{C. 12 km}", "C"),
    (r"\boxed{\text{Option C}}", "C"),
    (r"\boxed{A} or rather \boxed{C}", "C"),
    (r"The answer is A. \boxed{C}", "C"),
    (r"\boxed{12}", None),
    (r"\boxed{}", None),
    (r"\boxed{Paris}", None),
    (r"\boxed{a car}", None),
    (r"\boxed{A, B}", None),
    (r"\boxed{AB}", None),
    (r"\boxed{\text{A and B}}", None),
    # Tags and thoughts.
    ("<answer>C</answer>", "C"),
    ("<think>the answer is D</think><answer>C</answer>", "C"),
    ("<think>the answer is D</think>The answer is **(C)**.", "C"),
    ("the answer is D</think>\n\nC", "C"),
    ("<think>the answer is C", None),
    # Statements.
    ("The answer is C.", "C"),
    ("The answer is C because I computed it.", "C"),
    ("The answer is (C), since 3 > 2", "C"),
    ("The answer is (c)", "C"),
    ("the answer is c.", "C"),
    ("**Answer: C**", "C"),
    ("Answer:\nC", "C"),
    ("### Final Answer\n**C**", "C"),
    ("ANSWER IS C", "C"),
    ("ANSWER: $C$", "C"),
    (r"Answer: \text{C}", "C"),
    ("Answer: [C]", "C"),
    ("The answer is `C`", "C"),
    ("The answer is \u201cC\u201d", "C"),
    ("The answer is \u24b8", "C"),
    ("\u7b54\u6848\uff1aC", "C"),
    ("Respuesta: C", "C"),
    ("Die Antwort ist C", "C"),
    ("Answer seems to be C.", "C"),
    ("The answer would have to be C", "C"),
    ("The answer to the question is C", "C"),
    ("The correct option is (C).", "C"),
    ("So the correct answer is option C.", "C"),
    ("Option A is wrong. Option C is correct.", "C"),
    ("Therefore, C is the correct answer.", "C"),
    ("I choose C.", "C"),
    ("Answer: C, not B", "C"),
    ("Answer: It is not B, the answer is C", "C"),
    ("The answer is C. Note that A is a common distractor.", "C"),
    ("Is the answer A? No, the answer is C", "C"),
    ("The answer is A. Then I saw it: the answer is C", "C"),
    ("The answer is A.", "A"),
    ("The answer is a.", "A"),
    ("The answer is I.", "I"),
    ("The answer is Both", None),
    ("the answer is a matter of taste", None),
    ("The answer is A's", None),
    ("The answer is not B", None),
    ("Is the answer A?", None),
    ("C is correct?", None),
    ("D is not correct", None),
    ("Answer: C and D", None),
    ("The answer is A or B", None),
    ("Answer: C/D", None),
    ("The answer is DNA", None),
    ("ANSWER: None of the above", None),
    ("ANSWER: I don't know", None),
    ("ANSWER: Don't know", None),
    ("The answer choices are A, B, C and D.", None),
    # Endings and other forms.
    ("We get 12, which is option C.", "C"),
    ("Hence, (C).", "C"),
    ("It's C", "C"),
    ("Hence a car", None),
    ("The answer is C, D is wrong", "C"),
    ("A: C", "C"),
    (r"\boxed C", "C"),
    ("**Final Answer:** C", "C"),
    ("<answer>The answer is C</answer>", "C"),
    ("<answer>A cat</answer>", None),
    ("\u6545\u9009\uff1aC\u3002", "C"),
    # The beginning and the last line.
    ("C", "C"),
    (" (c) ", "C"),
    ("C) because", "C"),
    ("C. Paris", "C"),
    ("C Paris", "C"),
    ("C because it is", "C"),
    ("Option C", "C"),
    ("First 3, then 4.\n\n**C**", "C"),
    ("A. car", "A"),
    ("A cat sat on the mat", None),
    ("Because of it", None),
    ("Dogs are nice", None),
    ("", None),
    ([{"role": "assistant", "content": "Answer: C"}], "C"),
]


@pytest.mark.parametrize(("completion", "letter"), CHOSEN)
def test_the_letter_is_found(completion, letter):
    letters = "ABCDEFGHIJ"
    found = load_reward("choice")(prompts=["p"] * 10, completions=[completion] * 10, answer=list(letters))
    assert found == [float(right == letter) for right in letters]


def test_answers_are_read_as_completions_are():
    golds = ["C", "c", "(C)", "C.", r"\text{C}", "Option C", r"\textbf{(C)}\ 24", r"\boxed{C}", "The answer is C"]
    assert load_reward("choice")(prompts=["p"] * 9, completions=["C"] * 9, answer=golds) == [1.0] * 9


def test_letters_and_answers_that_do_not_fit():
    narrow = load_reward({"name": "choice", "letters": "AB"})
    scores = narrow(prompts=["p"] * 3, completions=["The answer is C", "B", "C"], answer=["b", "b", "C"])
    assert scores == [0.0, 1.0, None]
    said = narrow.unreadable([PromptRow("p", "(A)"), PromptRow("p", "C"), PromptRow("p", "A and B")])
    assert [one is None for one in said] == [True, False, False]
    assert said[1] == "the answer 'C' is none of the letters AB: correct one of them"
    with pytest.raises(UserError, match=r"reward\.letters"):
        load_reward({"name": "choice", "letters": "A-Z"})


@pytest.mark.parametrize(
    "text",
    [
        "answer ",
        "(",
        "answer is (",
        "A, ",
        " ",
        "**",
        r"answer is \text{",
        "C\n",
        "A and ",
        "not B or ",
        "B;",
        "nothing but ",
    ],
)
def test_hostile_texts_take_no_time(text):
    start = time.perf_counter()
    load_answer_finder("choice")(text * 20_000)
    assert time.perf_counter() - start < 1.0
