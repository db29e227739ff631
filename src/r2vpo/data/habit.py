"""Sums as a demonstrator with a bad habit answers them: it drops carries.

A model that learned from it can be taught better by reward alone, since right answers are there to be found: often
for sums without a carry, seldom for those with one, hardly ever for those with two.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import cache
from typing import Literal, get_args

from r2vpo.data.options import HabitDifficulty, HabitFormat, HabitOptions
from r2vpo.data.procedural import share_out
from r2vpo.data.rows import PromptData, PromptRow
from r2vpo.errors import UserError

DIFFICULTIES: tuple[HabitDifficulty, ...] = get_args(HabitDifficulty)
"""By number of carries: none, one, two."""
RIGHT_ANSWERS = (1.0, 0.15, 0.02)
"""Share of the demonstrator's answers that are right, by number of carries."""
DIGITS: dict[HabitFormat, int] = {"sum": 2, "chain": 3}
"""Digits of both numbers."""
RESERVED = 300
"""Problems of each difficulty that may be held out: no training and no demonstration has them, whatever the seed."""
_POOL_SEED = 0
# Of the 810,000 pairs of three digits; all 8,100 pairs of two digits are fewer.
_POOL_SIZE = 30_000


@dataclass(frozen=True)
class Sum:
    """Two numbers of equally many digits to add.

    Attributes:
        first: the first number.
        second: the second number.
    """

    first: int
    second: int

    @property
    def prompt(self) -> str:
        """What the model continues, such as `27+58=`."""
        return f"{self.first}+{self.second}="

    @property
    def carries(self) -> int:
        """Columns whose digits, with what is carried into them, add up to ten or more."""
        return sum(total >= 10 for *_, total in self._columns(carrying=True))

    def answer(self, form: HabitFormat, *, carrying: bool = True) -> str:
        """The answer as it is to be written, without a token that ends it.

        Args:
            form: `sum`, the digits alone (`85`); or `chain`, every column from the right, as
                `first+second+carried=total;`, and then the digits (`7+8+0=15;2+5+1=08;85`).
            carrying: False for the demonstrator's habit: nothing is carried, and the last column's ten is lost.
        """
        columns = self._columns(carrying=carrying)
        digits = "".join(str(total % 10) for *_, total in reversed(columns))
        if carrying and columns[-1][-1] >= 10:
            digits = "1" + digits
        if form == "sum":
            return digits
        return "".join(f"{a}+{b}+{carried}={total:02d};" for a, b, carried, total in columns) + digits

    def _columns(self, *, carrying: bool) -> list[tuple[int, int, int, int]]:
        """Both digits, what is carried into them, and their total, from the right."""
        columns: list[tuple[int, int, int, int]] = []
        carried = 0
        for a, b in zip(reversed(str(self.first)), reversed(str(self.second)), strict=True):
            total = int(a) + int(b) + carried
            columns.append((int(a), int(b), carried, total))
            carried = int(carrying and total >= 10)
        return columns


@cache
def habit_problems(form: HabitFormat, part: Literal["train", "held_out"]) -> tuple[tuple[Sum, ...], ...]:
    """All problems of a format that may be trained on, or that may be held out.

    Args:
        form: the format.
        part: which of the two; they have no problem in common.

    Returns:
        One tuple for each of `DIFFICULTIES`, in an order that is always the same.
    """
    numbers = range(10 ** (DIGITS[form] - 1), 10 ** DIGITS[form])
    count = len(numbers) ** 2
    places = random.Random(_POOL_SEED).sample(range(count), min(count, _POOL_SIZE))
    problems = [Sum(numbers[place // len(numbers)], numbers[place % len(numbers)]) for place in places]
    chosen = slice(RESERVED) if part == "held_out" else slice(RESERVED, None)
    carries = [problem.carries for problem in problems]
    return tuple(
        tuple(problem for problem, found in zip(problems, carries, strict=True) if found == wanted)[chosen]
        for wanted in range(len(DIFFICULTIES))
    )


def build_habit(options: HabitOptions) -> PromptData:
    """Make the problems of a run.

    Args:
        options: format, sizes and seed.

    Returns:
        Training problems, evenly of the difficulties that are asked for, and held-out problems, evenly of all of
        them; each split shuffled.

    Raises:
        UserError: when there are too few problems.
    """
    shuffler = random.Random(options.seed)
    held_out: list[PromptRow] = []
    pools = habit_problems(options.format, "held_out")
    for carries, count in enumerate(share_out(options.held_out, [1.0] * len(pools))):
        if count > RESERVED:
            raise UserError(
                f"data.held_out_size = {options.held_out}: the source habit has {RESERVED * len(pools)} problems to "
                "hold out: lower it"
            )
        held_out += [_row(problem, options.format) for problem in shuffler.sample(pools[carries], count)]
    train: list[PromptRow] = []
    pools = habit_problems(options.format, "train")
    wanted = [pools[DIFFICULTIES.index(label)] for label in options.difficulties]
    most = min(map(len, wanted)) * len(wanted)
    if options.train is not None and options.train > most:
        raise UserError(
            f"data.train_size = {options.train}: there are {most} problems that are even over "
            f"{', '.join(options.difficulties)}: lower it, or set it to null for all of them"
        )
    for pool, count in zip(wanted, share_out(options.train or most, [1.0] * len(wanted)), strict=True):
        train += [_row(problem, options.format) for problem in shuffler.sample(pool, count)]
    shuffler.shuffle(held_out)
    shuffler.shuffle(train)
    return PromptData(train=train, held_out=held_out)


def _row(problem: Sum, form: HabitFormat) -> PromptRow:
    return PromptRow(
        prompt=problem.prompt,
        answer=problem.answer(form),
        difficulty=DIFFICULTIES[problem.carries],
        source=f"habit/{form}",
    )
