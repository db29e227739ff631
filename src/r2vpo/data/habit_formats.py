"""Formats of the `habit` task: the length of numbers, how sums are written, and how often a demonstrator is right."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

HabitFormat = Literal["sum", "sum3", "chain", "long_chain"]
HabitDifficulty = Literal["no carry", "one carry", "two carries", "three carries"]


@dataclass(frozen=True)
class Format:
    """One way to pose sums and to answer them.

    Attributes:
        digits: digits of both numbers.
        right_answers: share of the demonstrator's answers that are right, by number of carries from 0 up; the format
            has a difficulty for each.
        careful: the same for a demonstrator who has not yet acquired the habit. Carrying is learned from these answers;
            learning it only from the few right ones of `right_answers` would take many times the steps.
        column: how a column is written out before the digits of the sum: `first` and `second` are its digits, `digits`
            is their sum, `carried` the carry into it, and `total` the sum of all three. Empty if nothing is written
            out.
    """

    digits: int
    right_answers: tuple[float, ...]
    careful: tuple[float, ...]
    column: str = ""

    @property
    def difficulties(self) -> tuple[HabitDifficulty, ...]:
        """Difficulties by number of carries."""
        return get_args(HabitDifficulty)[: len(self.right_answers)]


FORMATS: dict[HabitFormat, Format] = {
    "sum": Format(digits=2, right_answers=(1.0, 0.15, 0.02), careful=(1.0, 0.7, 0.7)),
    "sum3": Format(digits=3, right_answers=(1.0, 0.15, 0.02, 0.005), careful=(1.0, 0.7, 0.7, 0.7)),
    "chain": Format(
        digits=3,
        right_answers=(1.0, 0.15, 0.02),
        careful=(1.0, 0.7, 0.7),
        column="{first}+{second}+{carried}={total:02d};",
    ),
    "long_chain": Format(
        digits=8,
        # The model reaches about 0.12 and 0.015: it decides about a carry before it knows whether another one follows.
        right_answers=(1.0, 0.25, 0.08),
        careful=(1.0, 0.7, 0.7),
        column="{first}+{second}={digits:02d};{digits:02d}+{carried}={total:02d};",
    ),
}
"""`sum` and `sum3` ask only for the digits, `chain` and `long_chain` also for every column before them."""


def check_difficulties(form: HabitFormat, difficulties: Sequence[HabitDifficulty]) -> None:
    """Reject difficulties that a format does not have.

    Raises:
        ValueError: the format lacks one of them; the message begins with the name of the option.
    """
    known = FORMATS[form].difficulties
    for label in difficulties:
        if label not in known:
            raise ValueError(
                f"difficulties has {label}, which format {form} does not have: choose from {', '.join(known)}"
            )
