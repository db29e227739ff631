"""Verdicts on mathematical answers, fixed by hand."""

from tests.unit.rewards.math_cases.numbers import NUMBERS
from tests.unit.rewards.math_cases.placed import PLACED
from tests.unit.rewards.math_cases.spellings import SPELLINGS
from tests.unit.rewards.math_cases.structures import STRUCTURES
from tests.unit.rewards.math_cases.units import UNITS

BOXED = NUMBERS | UNITS | STRUCTURES | SPELLINGS

__all__ = ["BOXED", "PLACED"]
