"""Read an answer: the letter of a choice and the form of the rest."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import NamedTuple

from r2vpo.rewards.mathematics.normal import normalise
from r2vpo.rewards.mathematics.shapes import Shape, read_shape

_CHOICE = re.compile(r"(?:\(\s*(?P<bracketed>[A-J])\s*\)[.:]?|(?P<marked>[A-J])\s*[).:])\s*(?P<rest>.*)", re.DOTALL)
_CHOICE_IN_TEXT = re.compile(r"^\\text\{\s*(\([A-J]\))\s*([^{}]+)\}$")
_LETTER = re.compile(r"(?:\\text\{)?\s*(?:(?i:option|choice|answer|letter)\b\s*:?\s*)?\(?([A-J])\)?\s*\}?")
_CHOICE_AFTER = re.compile(r"(?P<value>.*\d[^()]*?)\s*\(\s*(?P<letter>[A-E])\s*\)")
_SECOND = re.compile(r"(?:\\text\{\s*(?:or|and)\s*\}|or\b|and\b)?\s*(?:\\text\{)?(?:\([A-J]\)|[A-J](?![A-Za-z\d(_^{]))")
_NOT = re.compile(r"\\text\{not\}|\\text\{[\s(,]*not\s+\$?-?\d[^{}]*\}")
_WHOLE = re.compile(r"(?<![\\A-Za-z])([a-z])\s*(?:\\in|∈)\s*(?:\\mathbb\s*\{?\s*Z|ℤ)")


class Answer(NamedTuple):
    """An answer that has been read.

    Attributes:
        text: the answer in plain LaTeX.
        letter: the letter of a multiple choice, if it is one.
        value: the outer form of the rest of the answer; None if it is only a letter.
    """

    text: str
    letter: str | None
    value: Shape | None


@lru_cache(maxsize=8192)
def read_answer(text: str) -> Answer:
    """Read an answer."""
    plain = _CHOICE_IN_TEXT.sub(r"\1\\text{\2}", _rather_than(normalise(text)))
    if alone := _LETTER.fullmatch(plain):
        return Answer(alone[1], alone[1], None)
    if choice := _CHOICE_AFTER.fullmatch(plain):
        return Answer(plain, choice["letter"], read_shape(choice["value"]))
    if choice := _CHOICE.fullmatch(plain):
        rest = choice["rest"].strip(" .,:;")
        if _SECOND.match(rest):  # two letters do not choose either
            return Answer(plain, None, None)
        return Answer(plain, choice["bracketed"] or choice["marked"], read_shape(rest) if rest else None)
    return Answer(plain, None, read_shape(plain))


def with_whole_letter(answer: str, gold: str) -> str:
    r"""Give any whole number in an answer the gold answer's letter: `n\pi, n \in \mathbb{Z}` is the same with k."""
    one, other = _WHOLE.search(gold), _WHOLE.search(answer)
    if one is None or other is None or re.search(rf"(?<![\\A-Za-z]){one[1]}(?![A-Za-z])", answer):
        return answer
    return re.sub(rf"(?<![\\A-Za-z]){other[1]}(?![A-Za-z])", one[1], answer)


def _rather_than(text: str) -> str:
    """Read `5 not 6` as 5."""
    kept = _NOT.split(text, maxsplit=1)[0].strip()
    return kept or text
