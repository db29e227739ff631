"""The code that a worker of the reward `math` runs; only workers import it, since sympy takes a while to load."""

from __future__ import annotations

import re

from r2vpo.rewards.hostile import refusal_of_size
from r2vpo.rewards.mathematics.answer import read_answer
from r2vpo.rewards.mathematics.compare import same_answer
from r2vpo.rewards.mathematics.exact import is_arithmetic
from r2vpo.rewards.mathematics.leaves import read_single
from r2vpo.rewards.mathematics.place import GOLD, place_of
from r2vpo.rewards.mathematics.shapes import Chain, Group, Sets, Shape
from r2vpo.rewards.mathematics.stated import is_hedged, stated_answer, states_answer
from r2vpo.rewards.mathematics.symbolic import expression, has_unknown_command
from r2vpo.rewards.worker import NoScore

_SENTENCE = re.compile(r"(?:[A-Za-z]{2,}\s+){2,}[^A-Za-z]*\d")
_QUOTED = re.compile(r'\[\s*"([^"\[\]]*)"\s*\]|"([^"]*)"')


def score_answer(text: str, kind: str, gold: str) -> float:
    """Return 1 if an answer equals the gold answer, else 0.

    Args:
        text: from `place_of`.
        kind: from `place_of`; `GOLD` asks whether the gold answer can be read.
        gold: the right answer, LaTeX, a plain number or words.

    Raises:
        NoScore: the comparison would cost too much.
    """
    if kind == GOLD:
        return read_gold(gold)
    answer, wanted = _answer(text, kind), gold_text(gold)
    if not read_answer(wanted).text:
        raise NoScore("gold", "there is nothing to compare with")
    if answer is None:
        return 0.0
    if (reason := refusal_of_size(answer)) is not None:
        raise NoScore(reason, answer[:100])
    return float(same_answer(wanted, answer))


def _answer(text: str, kind: str) -> str | None:
    """Return the content of the box, the text between the tags as it is, or the answer that a text states."""
    if kind == "box":
        return text
    if kind == "tags" and not states_answer(text) and len(text) <= 1000:
        if is_hedged(text):
            return None
        short = re.sub(r"\\[A-Za-z]+|\$", " ", text)
        if len(re.findall(r"[A-Za-z]{2,}", short)) <= 3 and not _SENTENCE.match(text.strip()):
            return text
    return stated_answer(text)


def gold_text(gold: str) -> str:
    """Return the answer within a gold answer, which may be boxed, quoted or a sentence."""
    place = place_of(gold)
    if place.kind == "text":
        if (quoted := _QUOTED.fullmatch(place.text.strip())) is not None:
            return quoted[1] or quoted[2]
        if states_answer(place.text):
            return stated_answer(place.text) or ""
    return place.text


def read_gold(gold: str) -> float:
    r"""Check whether a gold answer contains anything that answers can be compared with.

    Returns:
        1; or 0 if it is empty, its brackets do not match, or it is an expression that cannot be parsed. An answer with
        commands that no expression has, such as `\parallel`, or one that would cost too much, is compared as text.
    """
    answer = read_answer(gold_text(gold))
    return float(bool(answer.text) and (answer.value is None or _is_readable(answer.value)))


def _is_readable(shape: Shape) -> bool:
    if isinstance(shape, Group):
        return all(map(_is_readable, shape.items))
    if isinstance(shape, Chain):
        return all(map(_is_readable, shape.sides))
    if isinstance(shape, Sets):
        return _is_readable(shape.left) and _is_readable(shape.right)
    text = shape.text
    if text.count("{") != text.count("}") or not re.search(r"\w", text):
        return False
    try:
        single = read_single(text)
        is_text = single.number is not None or single.words or re.fullmatch(r"[\w:.'/ -]*\w[\w:.' -]*", single.text)
        return bool(is_text) or is_arithmetic(text) or has_unknown_command(text) or expression(single.text) is not None
    except NoScore:
        return True
