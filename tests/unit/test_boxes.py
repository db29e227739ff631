"""What the last box of a solution holds."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from r2vpo.boxes import last_box


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("\\boxed{1} and \\boxed{2}", "2"),
        ("$\\boxed 5$.", "5"),
        ("\\boxed 5, so", "5"),
        ("\\fbox{a b}", "a b"),
        ("\\boxed {x}", "x"),
        ("\\boxed{\\{1, 2\\}}", "\\{1, 2\\}"),
        ("\\boxed{1} \\boxed{2", "1"),
        ("\\boxed{\\boxed{3}}", "3"),
        ("\\boxedx{3}", None),
        ("3", None),
        ("\\boxed{1} \\boxed{ }", ""),
        ("\\boxed\\frac{1}{2}.", "\\frac{1}{2}"),
        ("$\\boxed\\sqrt{2}$", "\\sqrt{2}"),
        ("\\boxed-\\dfrac{3}{4}, so", "-\\dfrac{3}{4}"),
        ("\\boxed \\frac12", "\\frac12"),
        ("\\boxed\\binom{5}{2}", "\\binom{5}{2}"),
        ("\\boxed\\frac{\\sqrt{2^{3}}}{5} cm", "\\frac{\\sqrt{2^{3}}}{5}"),
        ("\\boxed{1} or \\boxed 2", "2"),
        ("\\boxed 1 or \\boxed{2}", "2"),
        ("\\boxed{x = \\boxed{5}}", "x = \\boxed{5}"),
        ("\\boxed{ \\fbox{5} }", "5"),
        ("\\boxed{1 \\boxed{2}", "2"),
    ],
)
def test_boxes(text: str, answer: str | None) -> None:
    assert last_box(text) == answer


NESTED = st.recursive(
    st.text("ab1 ^_", max_size=4),
    lambda inner: st.lists(inner, max_size=3).map(lambda parts: "{" + "}{".join(parts) + "}"),
    max_leaves=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(before=st.text("ab {}$", max_size=9), content=NESTED, after=st.text("a }$.", max_size=9))
def test_a_box_holds_whatever_is_nested_in_it(before: str, content: str, after: str) -> None:
    assert last_box(f"{before}\\boxed{{{content}}}{after}") == content.strip()
    assert last_box(f"\\boxed{{9}} {before}\\boxed{{{content}") == "9"
