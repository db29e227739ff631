"""Numbers read without rounding."""

from fractions import Fraction

import pytest

from r2vpo.rewards.mathematics.exact import TooLarge, is_arithmetic, read_number


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", Fraction(12)),
        ("-0.25", Fraction(-1, 4)),
        (".5", Fraction(1, 2)),
        ("1.5e3", Fraction(1500)),
        (r"\frac{1}{3}", Fraction(1, 3)),
        (r"11\frac{5}{6}", Fraction(71, 6)),
        (r"-1\frac{1}{2}", Fraction(-3, 2)),
        (r"2(3+4)", Fraction(14)),
        (r"2\cdot 3-4/8", Fraction(11, 2)),
        (r"0.1\overline{6}", Fraction(1, 6)),
        (r"0.\dot{1}4285\dot{7}", Fraction(1, 7)),
        (r"2^{-3}", Fraction(1, 8)),
        (r"-2^{2}", Fraction(-4)),
        (r"4^{3/2}", Fraction(8)),
        (r"2^{3^{2}}", Fraction(512)),
        (r"\sqrt{\frac{4}{9}}", Fraction(2, 3)),
        ("5!", Fraction(120)),
        (r"\binom{49}{6}", Fraction(13983816)),
        (r"101_{2}", Fraction(5)),
    ],
)
def test_values(text, value):
    number = read_number(text)
    assert number is not None and number.value == value


@pytest.mark.parametrize(
    "text",
    ["", "x", "2x", r"\sqrt{2}", "1 2", "1,2", "1.2.3", "12_2", "1/0", r"4\frac{10}{3}", "(1", "1+", r"\pi", "9:30"],
)
def test_what_is_no_rational_number(text):
    assert read_number(text) is None


@pytest.mark.parametrize(
    "text", ["9^{9^{9}}", "2^{10001}", "10^{10^{6}}", "1e99999", "(10^9)!", "((9!)!)!", "7^{9999}^{9}"]
)
def test_what_is_too_large(text):
    with pytest.raises(TooLarge):
        read_number(text)


def test_what_was_written_is_kept():
    percent, decimal, based = read_number(r"12.5\%"), read_number("0.0120"), read_number("0A1_{16}")
    assert (percent.percent, percent.places) == (True, 1)
    assert (decimal.places, decimal.digits) == (4, 3)
    assert (based.base, based.written) == (16, "A1")


@pytest.mark.parametrize(
    ("text", "well_formed"), [("2x+1", True), (r"\frac{n(n+1)}{2}", True), ("2x+", False), ("(x", False)]
)
def test_well_formed_expressions(text, well_formed):
    assert is_arithmetic(text) is well_formed
