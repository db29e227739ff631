"""Parse argument values of the command line; imports nothing heavy, since every command's help needs it."""

import argparse
import math
import re
from collections.abc import Callable

_UNITS = {"": 0, "K": 1, "M": 2, "G": 3, "T": 4}


def memory(text: str) -> float:
    """Return the bytes of a size such as ``80GiB``, ``40 GB`` or ``640MiB``."""
    match = re.fullmatch(r"([0-9]*\.?[0-9]+)\s*([KMGT]?)(i?)B?", text.strip())
    if match is None or float(match[1]) <= 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a size: write it as 80GiB or 40GB")
    base = 1024.0 if match[3] else 1000.0
    return float(match[1]) * math.pow(base, _UNITS[match[2]])


def above_zero(text: str) -> float:
    """Return a number above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is not a number above 0")
    return number


def share(text: str) -> float:
    """Return a number above 0 and at most 1."""
    number = above_zero(text)
    if number > 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a share: write a number above 0, at most 1")
    return number


def whole(least: int, most: int) -> Callable[[str], int]:
    """Return a parser of whole numbers between two bounds."""

    def parse(text: str) -> int:
        # The length is checked first, since Python refuses to read a number of thousands of digits.
        if not text.isdecimal() or len(text) > len(str(most)) or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} is not a whole number from {least} to {most}")
        return int(text)

    return parse


positive, seeds, seed = whole(1, 999_999_999_999), whole(1, 10_000), whole(0, 2**32 - 1)
port = whole(0, 65_535)
