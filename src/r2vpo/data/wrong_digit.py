"""Wrong answers that are made from right ones: one digit is another one."""

from __future__ import annotations

import random


def raise_a_digit(right: str, draws: random.Random) -> str:
    """Return a text with one of its digits, drawn uniformly, raised by one; a 9 becomes a 0.

    Args:
        right: the text, with at least one digit.
        draws: what decides which digit.
    """
    place = draws.choice([place for place, letter in enumerate(right) if letter.isdecimal()])
    return f"{right[:place]}{(int(right[place]) + 1) % 10}{right[place + 1 :]}"
