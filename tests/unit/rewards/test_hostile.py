"""Answers that are refused unread."""

import pytest

from r2vpo.rewards.hostile import refusal


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("9**9**9", "power"),
        ("9^{9^{9}}", "power"),
        ("1+2^{-(9^{99})}", "power"),
        ("2^{10001}", "power"),
        (r"10^{\left(10^{6}\right)}", "power"),
        ("2^{10000}", None),
        ("2^{3^{4}}", None),
        ("0^{9^{2}}", None),
        ("1.5^2.5", None),
        ("1.2.3^2", None),
        ("x^{y^{z}}", None),
        ("(x+1)^{2000}", "power"),
        ("x^{101}-1", "power"),
        ("x^{100}-1", None),
        ("(2+3)^{200}", None),
        (r"\left(\frac{1}{2}\right)^{200}", None),
        ("(" * 11 + "5", "nesting"),
        (r"\frac{1}{" * 10 + "2" + "}" * 10, None),
        ("10000!", "factorial"),
        ("(10^9)!", "factorial"),
        ("(3!)!", "factorial"),
        ("2023!", None),
        (r"\frac{x^2}{25} + \frac{y^2}{16} = 1", None),
        (r"\frac{x^{2}}{100}", None),
        (r"\frac{(1+x)^2}{100}", None),
        (r"\frac{5^4}{7776}", None),
        (r"\frac{x^5}{5!}", None),
        (r"\frac{2^{9}}{1024}", None),
        (r"\frac{x^{200}}{5}", "power"),
        (r"\frac{2^{3^{9}}}{5}", "power"),
        (r"\frac{1}{2^{9}}^{9^{9}}", "power"),
        (r"\frac{(10^9)!}{5}", "factorial"),
        ("((2^9)^9)^9", "power"),
        ("1" * 1001, "length"),
        ("1" * 1000, None),
        ("", None),
    ],
)
def test_refusals(text, reason):
    assert refusal(text) == reason
