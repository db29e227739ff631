"""Lists with dots: every written item counts, and so do the items that the dots represent if they can be filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from r2vpo.rewards.mathematics.exact import number_within_limits
from r2vpo.rewards.mathematics.shapes import DOTS, Leaf, Shape, step_of

_FILLED = 1000


def filled(items: tuple[Shape, ...]) -> tuple[Shape, ...]:
    """Fill in dots between integers of an arithmetic progression: 1, 2, ..., 5 is 1, 2, 3, 4, 5.

    Items that are not such a progression, or that would be over 1,000, are unchanged.
    """
    places = [place for place, item in enumerate(items) if is_dots(item)]
    if len(places) != 1 or places[0] < 2 or places[0] == len(items) - 1:
        return items
    before, after = items[: places[0]], items[places[0] + 1 :]
    head, tail = [_integer(item) for item in before], [_integer(item) for item in after]
    known, ends = [n for n in head if n is not None], [n for n in tail if n is not None]
    if len(known) < len(head) or len(ends) < len(tail):
        return items
    step = step_of(known)
    if not step or (ends[0] - known[-1]) % step or not 0 < (count := (ends[0] - known[-1]) // step) < _FILLED:
        return items
    return (*before, *(Leaf(str(known[-1] + step * i)) for i in range(1, count)), *after)


def same_dotted(gold: Sequence[Shape], answer: Sequence[Shape], same: Callable[[Shape, Shape], bool]) -> bool:
    """Whether two lists are the same item by item; dots are equal only to dots.

    Before dots, one list may have more items than the other if they continue its progression.
    """
    if len(gold) == len(answer):
        return all(is_dots(a) == is_dots(b) and (is_dots(a) or same(a, b)) for a, b in zip(gold, answer, strict=True))
    places = [[place for place, item in enumerate(items) if is_dots(item)] for items in (gold, answer)]
    if [len(found) for found in places] != [1, 1]:
        return False
    (one,), (other,) = places
    heads = sorted((gold[:one], answer[:other]), key=len)
    tails = gold[one + 1 :], answer[other + 1 :]
    if len(heads[0]) < 2 or len(tails[0]) != len(tails[1]) or not all(map(same, *tails)):
        return False
    longer = [_integer(item) for item in heads[1]]
    known = [number for number in longer if number is not None]
    return len(known) == len(longer) and step_of(known) is not None and all(map(same, *heads))


def summed(text: str) -> str:
    r"""Write `1+2+\ldots+n`, with terms in arithmetic progression, in closed form; other texts are unchanged."""
    terms = [term.strip() for term in text.split("+")]
    if DOTS not in terms or text.count(DOTS) > 1 or (place := terms.index(DOTS)) < 2 or place != len(terms) - 2:
        return text
    known = [int(term) if term.isdigit() else None for term in terms[:place]]
    numbers = [number for number in known if number is not None]
    if len(numbers) < len(known) or not (step := step_of(numbers)):
        return text
    first, last = numbers[0], terms[-1]
    return rf"\frac{{({first}+{last})({last}-{first}+{step})}}{{2 \cdot {step}}}"


def is_dots(item: Shape) -> bool:
    """Whether an item of a list is dots."""
    return isinstance(item, Leaf) and item.text.strip() == DOTS


def _integer(item: Shape) -> int | None:
    if not isinstance(item, Leaf):
        return None
    number = number_within_limits(item.text)
    return int(number.value) if number is not None and number.value.denominator == 1 and number.base is None else None
