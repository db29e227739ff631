"""Sums, answered by a demonstrator with a bad habit: dropping carries.

A model that learned from the demonstrator can improve from the reward alone, since it does find right answers: often
for sums without a carry, seldom for those with one, and hardly ever for those with more.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from functools import cache
from typing import Literal

from r2vpo.data.habit_formats import FORMATS, Format, HabitFormat
from r2vpo.data.options import HabitOptions
from r2vpo.data.procedural import share_out
from r2vpo.data.rows import Pair, PromptData, PromptRow
from r2vpo.data.wrong_digit import raise_a_digit
from r2vpo.errors import UserError

RESERVED = 300
"""Number of problems of each difficulty that may be held out: they are never used in training or demonstrations,
whatever the seed."""
_POOL_SEED = 0
# Drawn from the 810,000 pairs of three digits; there are only 8,100 pairs of two digits, which are all used.
_POOL_SIZE = 30_000
# Hardly any pair of longer numbers has as few carries as the difficulties require, so this many are composed for each.
_MOST_DIGITS_DRAWN = 3
_COMPOSED = 3_000


@dataclass(frozen=True)
class Sum:
    """Two numbers with the same number of digits, to be added.

    Attributes:
        first: the first number.
        second: the second number.
    """

    first: int
    second: int

    @property
    def prompt(self) -> str:
        """The text that the model continues, such as `27+58=`."""
        return f"{self.first}+{self.second}="

    @property
    def carries(self) -> int:
        """Number of columns whose digits, with what is carried into them, add up to ten or more."""
        return sum(total >= 10 for *_, total in self._columns(carrying=True))

    def answer(self, form: HabitFormat, *, carrying: bool = True) -> str:
        """Write the answer, without a token that ends it.

        Args:
            form: `sum` and `sum3`, only the digits (`85`); `chain`, every column from the right, as
                `first+second+carried=total;`, and then the digits (`7+8+0=15;2+5+1=08;85`); or `long_chain`, the same
                with columns `first+second=digits;digits+carried=total;` (`7+8=15;15+0=15;2+5=07;07+1=08;85`).
            carrying: False for the demonstrator's habit: nothing is carried, and the last column's ten is lost.
        """
        columns = self._columns(carrying=carrying)
        digits = "".join(str(total % 10) for *_, total in reversed(columns))
        if carrying and columns[-1][-1] >= 10:
            digits = "1" + digits
        column = FORMATS[form].column
        return (
            "".join(
                column.format(first=a, second=b, digits=a + b, carried=carried, total=total)
                for a, b, carried, total in columns
            )
            + digits
        )

    def _columns(self, *, carrying: bool) -> list[tuple[int, int, int, int]]:
        """Return both digits, the carry into them and their total, for each column from the right."""
        columns: list[tuple[int, int, int, int]] = []
        carried = 0
        for a, b in zip(reversed(str(self.first)), reversed(str(self.second)), strict=True):
            total = int(a) + int(b) + carried
            columns.append((int(a), int(b), carried, total))
            carried = int(carrying and total >= 10)
        return columns


@cache
def habit_problems(form: HabitFormat, part: Literal["train", "held_out"]) -> tuple[tuple[Sum, ...], ...]:
    """Return all problems of a format that may be trained on, or all that may be held out.

    Returns:
        One tuple for each of the format's difficulties, always in the same order.
    """
    asked = FORMATS[form]
    pools = _drawn(asked) if asked.digits <= _MOST_DIGITS_DRAWN else _composed(asked)
    chosen = slice(RESERVED) if part == "held_out" else slice(RESERVED, None)
    return tuple(tuple(pool[chosen]) for pool in pools)


def _drawn(form: Format) -> list[list[Sum]]:
    """Draw pairs of numbers from all pairs, grouped by their number of carries."""
    numbers = range(10 ** (form.digits - 1), 10**form.digits)
    count = len(numbers) ** 2
    pools: list[list[Sum]] = [[] for _ in form.difficulties]
    for place in random.Random(_POOL_SEED).sample(range(count), min(count, _POOL_SIZE)):
        problem = Sum(numbers[place // len(numbers)], numbers[place % len(numbers)])
        if problem.carries < len(pools):
            pools[problem.carries].append(problem)
    return pools


def _composed(form: Format) -> list[list[Sum]]:
    """Compose pairs of numbers column by column, with a given number of carries."""
    draws = random.Random(_POOL_SEED)
    pools: list[list[Sum]] = []
    for carries in range(len(form.difficulties)):
        pool: dict[Sum, None] = {}
        while len(pool) < _COMPOSED:
            pool[_with_carries(carries, form.digits, draws)] = None
        pools.append(list(pool))
    return pools


def _with_carries(carries: int, digits: int, draws: random.Random) -> Sum:
    """Compose a sum that carries in a given number of columns; columns and suitable digits are drawn uniformly."""
    carrying = draws.sample(range(digits), carries)
    first = second = carried = 0
    for column in range(digits):
        a, b = draws.choice(_pairs(carried, column in carrying, int(column == digits - 1)))
        first += a * 10**column
        second += b * 10**column
        carried = int(column in carrying)
    return Sum(first, second)


@cache
def _pairs(carried: int, carries: bool, lowest: int) -> tuple[tuple[int, int], ...]:
    """Return the pairs of digits from `lowest` up that carry, or that do not, given the carry into them."""
    digits = range(lowest, 10)
    return tuple((a, b) for a in digits for b in digits if (a + b + carried >= 10) == carries)


def build_habit(options: HabitOptions, seed: int) -> PromptData:
    """Make the problems of a run.

    Returns:
        Training problems, evenly over the requested difficulties, and held-out problems, evenly over all of them; each
        split is shuffled.

    Raises:
        UserError: there are too few problems.
    """
    shuffler = random.Random(seed)
    held_out: list[PromptRow] = []
    pools = habit_problems(options.format, "held_out")
    for carries, count in enumerate(share_out(options.held_out_size, [1.0] * len(pools))):
        if count > RESERVED:
            raise UserError(
                f"data.held_out_size = {options.held_out_size}: the source habit has {RESERVED * len(pools)} problems "
                "to hold out: lower it"
            )
        held_out += [_row(problem, options.format) for problem in shuffler.sample(pools[carries], count)]
    train: list[PromptRow] = []
    pools = habit_problems(options.format, "train")
    known = FORMATS[options.format].difficulties
    difficulties = options.difficulties or known
    wanted = [pools[known.index(label)] for label in difficulties]
    most = min(map(len, wanted)) * len(wanted)
    if options.train_size is not None and options.train_size > most:
        raise UserError(
            f"data.train_size = {options.train_size}: there are {most} problems distributed evenly over "
            f"{', '.join(difficulties)}: lower it, or set it to null for all of them"
        )
    for pool, count in zip(wanted, share_out(options.train_size or most, [1.0] * len(wanted)), strict=True):
        drawn = shuffler.sample(pool, count)
        rows = [_row(problem, options.format) for problem in drawn]
        if options.pairs:
            rows = [
                replace(
                    row,
                    pair=Pair(
                        options.written(row.answer), options.written(wrong_answer(problem, options.format, shuffler))
                    ),
                )
                for problem, row in zip(drawn, rows, strict=True)
            ]
        train += rows
    shuffler.shuffle(held_out)
    shuffler.shuffle(train)
    return PromptData(train=train, held_out=held_out)


def _row(problem: Sum, form: HabitFormat) -> PromptRow:
    return PromptRow(
        prompt=problem.prompt,
        answer=problem.answer(form),
        difficulty=FORMATS[form].difficulties[problem.carries],
        source=f"habit/{form}",
    )


def wrong_answer(problem: Sum, form: HabitFormat, draws: random.Random) -> str:
    """Draw a wrong answer: that of the demonstrator who drops carries, or the right one with one digit raised by one.

    With carries, both are equally likely; without, the demonstrator is right, and it is the second. Pairs with only the
    first would teach to carry always, also where nothing is carried.

    Args:
        problem: the sum.
        form: how the answer is written.
        draws: what decides which, and which digit; a 9 becomes a 0.
    """
    right, dropped = problem.answer(form), problem.answer(form, carrying=False)
    if dropped != right and draws.random() < 0.5:
        return dropped
    return raise_a_digit(right, draws)
