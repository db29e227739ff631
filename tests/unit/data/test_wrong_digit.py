"""Wrong answers made from right ones."""

import random

from r2vpo.data.wrong_digit import raise_a_digit


def test_one_digit_is_raised_and_nothing_else_changes():
    draws = random.Random(0)
    assert {raise_a_digit("-19;", draws) for _ in range(40)} == {"-29;", "-10;"}
    assert raise_a_digit("9", draws) == "0"
