"""Mathematical answers: equal forms, wrong ones, where the answer stands, and hostile ones."""

import logging
import subprocess
import sys
import threading

import pytest

from r2vpo.rewards import load_reward
from r2vpo.rewards.math_answer import find_answer

# completion, gold answer, score
CASES = [
    (r"\boxed{\frac{1}{2}}", "0.5", 1),
    (r"\boxed{0.5}", r"\frac12", 1),
    (r"\boxed{\dfrac{3}{4}}", "3/4", 1),
    (r"\boxed{1/3}", r"\frac{1}{4}", 0),
    (r"\boxed{0.333333}", r"\frac13", 1),
    (r"\boxed{0.33}", r"\frac13", 0),
    (r"\boxed{1,234}", "1234", 1),
    (r"\boxed{1234}", "1,234", 1),
    (r"\boxed{-7}", "7", 0),
    (r"\boxed{3.5\times 10^{4}}", "35000", 1),
    (r"\boxed{50}", r"50\%", 1),
    (r"\boxed{0.5}", r"50\%", 1),
    (r"\boxed{5\%}", r"50\%", 0),
    (r"\boxed{5 \text{ cm}^2}", "5", 1),
    (r"\boxed{6\text{ cm}}", "5", 0),
    (r"\boxed{\$18}", "18", 1),
    (r"\boxed{45^\circ}", "45", 1),
    (r"\boxed{(1, 2]}", "(1,2]", 1),
    (r"\boxed{[1,2]}", "(1,2]", 0),
    (r"\boxed{(-\infty, 3]}", r"(-\infty,3)", 0),
    (r"\boxed{(-\infty,0)\cup(1,\infty)}", r"(-\infty, 0) \cup (1, \infty)", 1),
    (r"\boxed{\{2, 1\}}", r"\{1,2\}", 1),
    (r"\boxed{1, 2}", r"\{1,2\}", 1),
    (r"\boxed{\{1,2,3\}}", r"\{1,2\}", 0),
    (r"\boxed{(2,1)}", "(1,2)", 0),
    (r"\boxed{\sqrt{8}}", r"2\sqrt{2}", 1),
    (r"\boxed{2\sqrt{3}}", r"2\sqrt{2}", 0),
    (r"\boxed{x^2+2x+1}", r"(x+1)^2", 1),
    (r"\boxed{x^2+1}", r"(x+1)^2", 0),
    (r"\boxed{x=5}", "5", 1),
    (r"\boxed{\pi/4}", r"\frac{\pi}{4}", 1),
    (r"\boxed{\begin{pmatrix}1&2\\3&4\end{pmatrix}}", r"\begin{pmatrix}1 & 2\\3 & 4\end{pmatrix}", 1),
    (r"\boxed{\begin{pmatrix}1&2\\3&5\end{pmatrix}}", r"\begin{pmatrix}1&2\\3&4\end{pmatrix}", 0),
    (r"\boxed{\text{west}}", r"\text{east}", 0),
    (r"first \boxed{3}, so \boxed{4}", "4", 1),
    (r"first \boxed{4}, so \boxed{3}", "4", 0),
    (r"\boxed{\boxed{5}}", "5", 1),
    (r"cut off: \boxed{5", "5", 0),
    ("The answer is 42.", "42", 1),
    ("The answer is 41.", "42", 0),
    (r"So the final answer is $\frac{1}{2}$.", "0.5", 1),
    ("no idea", "42", 0),
    ("", "42", 0),
    (r"\boxed{7}", "$7$", 1),
    ([{"role": "assistant", "content": r"\boxed{7}"}], "7.0", 1),
]
HOSTILE = [
    r"\boxed{9**9**9**9}",
    r"\boxed{9^{9^{9^{9}}}}",
    "The answer is 9**9**9**9",
    r"\boxed{" + r"\frac{1}{" * 60 + "2" + "}" * 60 + "}",
    r"\boxed{(10^9)!}",
    r"\boxed{((9!)!)!}",
    "{" * 3_000_000,
    r"\boxed{" * 500_000,
    r"\boxed{" + "}" * 3_000_000,
    r"\left(" * 100_000 + r"\boxed{3",
    "$" * 50_000,
    r"\boxed{(9999 \cdot 9999)!}",
]
REFUSED = {
    0: "power",
    1: "power",
    2: "power",
    3: "nesting",
    4: "factorial",
    5: "factorial",
    9: "length",
    11: "factorial",
}


@pytest.fixture(scope="module")
def reward():
    return load_reward({"name": "math", "workers": 2, "seconds_per_item": 1.0})


def scores(reward, pairs):
    completions, answers = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    return reward(prompts=["p"] * len(pairs), completions=completions, answer=answers)


def test_a_table_of_answers(reward):
    found = scores(reward, CASES)
    assert [(case[0], case[1], score) for case, score in zip(CASES, found, strict=True)] == CASES


def test_hostile_answers_change_no_other_score(reward, caplog):
    honest = CASES[:12]
    pairs = [pair for i, text in enumerate(HOSTILE) for pair in ((text, "4"), honest[i])]
    with caplog.at_level(logging.WARNING):
        found = scores(reward, pairs)
    assert found[::2] == [0.0] * len(HOSTILE)
    assert found[1::2] == [case[2] for case in honest]
    for number, reason in REFUSED.items():
        assert any(f"item {2 * number} scores 0, reason {reason}" in r.getMessage() for r in caplog.records)


def test_what_a_worker_imports_is_not_torch():
    code = "import sys, r2vpo.rewards.worker, r2vpo.rewards.math_scorer; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


def test_off_the_main_thread(reward):
    found = []
    thread = threading.Thread(target=lambda: found.extend(scores(reward, CASES[:4])))
    thread.start()
    thread.join()
    assert found == [case[2] for case in CASES[:4]]


def test_a_gold_answer_that_cannot_be_read_gives_no_score(reward, caplog):
    assert scores(reward, [(r"\boxed{4}", ""), (r"\boxed{4}", "4")]) == [None, 1.0]
    assert "item 0 scores 0, reason gold" in caplog.text


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"a \boxed{\frac{1}{2}} b", (r"\frac{1}{2}", True)),
        (r"{ \boxed{5}", ("5", True)),
        (r"\boxed{5} and \boxed{6", ("5", True)),
        (r"\boxed{\{1\}}", (r"\{1\}", True)),
        (r"\fbox{5}", ("5", True)),
        (r"} } \boxed {5}", ("5", True)),
        (r"\\boxed{5}", (r"\\boxed{5}", False)),
        ("x" * 2000 + "5", ("x" * 999 + "5", False)),
        (r"\boxed{5}" + "x" * 20_000, ("x" * 1000, False)),
    ],
)
def test_where_the_answer_stands(text, found):
    assert find_answer(text) == found
