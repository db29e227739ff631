"""The first number of an answer: which texts state one, and which number it is."""

import time

import pytest

from r2vpo.data.rows import PromptRow
from r2vpo.rewards import load_reward
from r2vpo.rewards.number_text import first_number


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("29", 29.0),
        ("about 1,000 m", 1000.0),
        ("$1,000.", 1000.0),
        ("1,000,000.50", 1000000.5),
        ("1 000", 1000.0),
        ("1\u202f234\u202f567", 1234567.0),
        ("9\\,500", 9500.0),
        ("9{,}500", 9500.0),
        ("1'234", 1234.0),
        ("10%", 10.0),
        (".5", 0.5),
        ("1/2", 0.5),
        ("1.5/2", 0.75),
        ("\u00bd", 0.5),
        ("1\u00bd", 1.5),
        ("1 1/2", 1.5),
        ("-1 1/2", -1.5),
        (r"\frac{3}{4}", 0.75),
        (r"-\dfrac34", -0.75),
        ("1.5e9", 1.5e9),
        ("1E-3", 0.001),
        ("1.5 \u00d7 10^9", 1.5e9),
        (r"1.5 \times 10^{-3}", 0.0015),
        ("-5", -5.0),
        ("\u22125", -5.0),
        ("\u2013 5", -5.0),
        ("$-5", -5.0),
        ("-$5", -5.0),
        ("x = -5", -5.0),
        ("Alaska \u2013 5 states", 5.0),
        ("\uff15", 5.0),
        ("\u0663", 3.0),
        ("\u7b54\u6848\u662f5", 5.0),
        ("x = 5", 5.0),
        ("2 + 3 = 5", 5.0),
        ("(2 + 3) * 4 = 20", 20.0),
        ("5 apples and 3 pears", 5.0),
        ("5cm", 5.0),
        ("3, 4", None),
        ("Area51 has 7", 7.0),
        ("10\u00b3", 1000.0),
        ("1.2 \u00d7 10\u207b\u00b3", 0.0012),
        (r"x is -\frac{1}{2}", -0.5),
        ("x is -\u00bd", -0.5),
        ("1,00,000", 100000.0),
        ("-> 5", 5.0),
        ("<b>5</b>", 5.0),
        ("5 or 6", None),
        ("x > 5", None),
        (r"x \ge 5", None),
        ("none", None),
        ("nan", None),
        ("1/0", None),
        ("2 + 3", None),
        ("2^10", None),
        ("5\u00b2", None),
        ("\u221a2", None),
        (r"\sqrt{2}", None),
        ("2\u03c0", None),
        ("2x = 10", None),
        ("12,34", None),
        ("1,0000", None),
        ("3.14.15", None),
        ("1/2/3", None),
        ("2024-01-02", None),
        ("5:30", None),
        ("0x10", None),
        ("(1,2)", None),
        ("42x", None),
        ("\u00b142", None),
        ("+/-42", None),
        ("42 million", 42e6),
        ("1.5 million dollars", 1.5e6),
        ("3 thousand", 3000.0),
        ("2 dozen", None),
        ("42 squared", None),
        ("It is not 42", None),
        ("at least 42", None),
        ("more than 42", None),
        ("sqrt(42)", None),
        ("half of 42", None),
        ("x^2 = 42", None),
        ("$x^2=42$", None),
        ("A = 2r^2 = 42", None),
        ("41 = 42", None),
        ("2+2=5", None),
        ("10/3 = 3.33", 3.33),
        ("2^4 = 16", 16.0),
        ("6 x 7 = 42", 42.0),
        ("minus 5", -5.0),
        ("negative 5", -5.0),
        ("7 minus 5", None),
        ("1\u202f234\u202f567,89", None),
        # Several numbers.
        ("42 and 43", None),
        ("42 or maybe 43", None),
        ("42 (or 43)", None),
        ("42 to 50", None),
        ("42; 43", None),
        ("42 km or 43 km", None),
        ("x = 42 or x = 43", None),
        (r"42 \text{ or } 43", None),
        (r"\{42, 43\}", None),
        ("42...43", None),
        ("1/2 or 0.5", 0.5),
        ("42 (40 + 2)", 42.0),
        # Denials.
        ("42 is clearly wrong", None),
        ("42 is not the answer", None),
        ("It can't be 42", None),
        ("I don't think it is 42", None),
        ("neither 42 nor 43", None),
        ("anything but 42", None),
        ("42? No.", None),
        ("not 41 but 42", 42.0),
        ("The answer is not 41, it is 42.", 42.0),
        ("42, not 43", 42.0),
        ("no doubt it is 42", 42.0),
        # Bounds.
        ("over 42", None),
        ("42 or more", None),
        ("42 km at most", None),
        ("42+", None),
        # Equations that are not solved.
        ("|x| = 42", None),
        ("-x = 42", None),
        ("xy = 42", None),
        ("x! = 42", None),
        ("x + y = 42", None),
        (r"\frac{x}{2} = 42", None),
        (r"\ln x = 42", None),
        ("AB = 42", 42.0),
        ("f(x) = 42", 42.0),
        ("v = d/t = 42", 42.0),
        # Parts of something larger.
        ("log 42", None),
        ("sin(42)", None),
        (r"\log_{2} 42", None),
        ("42 divided by 2", None),
        ("42 choose 2", None),
        ("42\u221a2", None),
        ("42i", None),
        ("the square of 42", None),
        ("two-thirds of 42", None),
        ("-(-3.5)", None),
        (r"\left|-3.5\right|", None),
        (r"\frac{-7}{2}", -3.5),
        (r"-\frac{-7}{2}", 3.5),
        (r"\frac{7}{-2}", -3.5),
        (r"6 \times 7 = 42", 42.0),
        (r"\sin 30 = 0.5", 0.5),
        (r"42^\circ", 42.0),
        (r"42\text{ cm}^2", 42.0),
    ],
)
def test_first_number(text, number):
    assert first_number(text) == number


@pytest.mark.parametrize(
    ("completion", "answer", "tolerance", "value"),
    [
        ("3.1416", "3.14159265", 1e-4, 1.0),
        ("3.15", "3.14159265", 1e-4, 0.0),
        ("1/4", "0.25", 0.0, 1.0),
        ("1/0", "0.25", 0.0, 0.0),
        ("1e400", "1000", 1.0, 0.0),
        ("1" + "0" * 400, "1000", 0.0, 0.0),
        ("none", "0", 1.0, 0.0),
        ("1001", "1000", 1e-3, 1.0),
        ("1002", "1000", 1e-3, 0.0),
        ("1.5", "1 1/2", 0.0, 1.0),
        ("4\n5", "5", 0.0, 0.0),
        ("<think>4</think>\n5", "5", 0.0, 1.0),
        ("<think>5</think>\n4", "5", 0.0, 0.0),
        ("<think>5", "5", 0.0, 0.0),
        ("<think>4</think><answer>5</answer>", "5", 0.0, 1.0),
        ("4 four", "four", 1.0, None),
        ("1e400", "1e400", 1.0, None),
    ],
)
def test_numeric(completion, answer, tolerance, value):
    reward = load_reward({"name": "numeric", "tolerance": tolerance})
    assert reward(prompts=["p"], completions=[completion], answer=[answer]) == [value]


def test_answers_without_a_number_are_named():
    said = load_reward("numeric").unreadable([PromptRow("p", "4"), PromptRow("p", "none"), PromptRow("p", "1 1/2")])
    assert [one is None for one in said] == [True, False, True]
    assert said[1] == "the answer 'none' holds no number: use the reward 'exact' for such data"


@pytest.mark.parametrize(
    "text",
    ["1,", "1 ", "1 1", "(", "1+", "1=", "9", "-", "1/", "1 000 ", "\\frac{1", "1 or ", "not 1 ", "x=", "\\text{"],
)
def test_hostile_texts_take_no_time(text):
    start = time.perf_counter()
    first_number(text * 50_000)
    assert time.perf_counter() - start < 1.0
