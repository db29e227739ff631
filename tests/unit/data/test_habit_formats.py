"""The formats of sums: every name is declared, and each has a difficulty for every number of carries it asks for."""

from typing import get_args

import pytest

from r2vpo.data.habit_formats import FORMATS, HabitFormat, check_difficulties


def test_every_format_is_declared() -> None:
    assert list(FORMATS) == list(get_args(HabitFormat))


def test_difficulties_are_the_numbers_of_carries() -> None:
    three = ("no carry", "one carry", "two carries")
    assert {name: form.difficulties for name, form in FORMATS.items()} == {
        "sum": three,
        "sum3": (*three, "three carries"),
        "chain": three,
        "long_chain": three,
    }
    for form in FORMATS.values():
        assert len(form.careful) == len(form.right_answers) <= form.digits + 1
        # Without a carry nothing is dropped, so that both answers are the same.
        assert form.right_answers[0] == form.careful[0] == 1.0
        assert list(form.right_answers) == sorted(form.right_answers, reverse=True)


def test_difficulties_of_another_format_are_refused() -> None:
    check_difficulties("sum3", ("three carries", "no carry"))
    check_difficulties("chain", ())
    with pytest.raises(
        ValueError, match=r"^difficulties has three carries, .* sum .*: choose from no carry, one carry,"
    ):
        check_difficulties("sum", ("no carry", "three carries"))
