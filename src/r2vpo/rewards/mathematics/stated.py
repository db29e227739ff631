"""The answer that a text states without a box."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.units import UNITS

_MARK = re.compile(r"####[ \t]*([^\n]*)")
_CUES = 3
"""How many of the last "answer is" are looked at."""
_BOLD = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w({])")
_CUE = re.compile(
    r"\banswer(?: (?:to|of|for) [^\n.$]{0,60}?(?= is\b))?[ \t]*"
    r"(?:(?:is|are|was|equals|(?:will|would|should|must) be)\b[ \t]*(?:therefore|thus|then|simply)?[ \t]*[:=]?|[:=])"
    r"(?![ \t]*\})[ \t]*\n?",
    re.IGNORECASE,
)
_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|(?<![\\$])\$([^$\n]+)(?<!\\)\$|\\\(([^\n]+?)\\\)|(?<!\\)\\\[(.+?)\\\]", re.DOTALL
)
_SENTENCE_END = re.compile(
    r"\.(?=\s|$)|\n|[!?;](?=\s)|,\s+(?=(?:not|but|because|since|which|so|as|where|and so|although)\b)"
    r"|\s(?=(?:because|since|not)\b)",
    re.IGNORECASE,
)
_RUN = re.compile(
    r"(?:\\[A-Za-z]+|\\[{}%,;!$ ]|[\d.,:+\-*/^_=<>()\[\]{}|!%$&°√π∞≤≥≠×÷·±∓⁄−–—]|(?<![A-Za-z])[A-Za-z](?![A-Za-z])"
    r"|(?<![A-Za-z])(?:pi|sqrt|log|ln|sin|cos|tan|or|and|percent|e)(?![A-Za-z])|(?<=\d)e\d|[ ])+"
)
_NO_ANSWER = re.compile(
    r"\banswer\s+(?:can(?:not|['\u2019]t)|(?:could|should|would|must|is|was)n['\u2019]t|(?:can|could|should|would|must|may)\s+(?:not|never))"
    r"\b(?:[^.\n!?]|\.(?=\d))*",
    re.IGNORECASE,
)
"""Sentences that say what the answer is not."""
_ASKED = re.compile(r"[\s$*)]*\?")
_EDGES = re.compile(r"^(?:[\s,:=*]|\.(?!\d)|(?:a|I|and|or)\s)+|(?:[\s,:=*]|\s(?:a|I|and|or))+$")
_DENIED = re.compile(
    r"\b(?:not|cannot|never|at least|at most|(?:less|more|fewer|greater|smaller|larger|other) than|negative|minus|twice"
    r"|half of|double|roots? of|except|but|between|from|up to)\b|n't\b",
    re.IGNORECASE,
)
_GOES_ON = re.compile(
    r"[\s;,(]*(?:(?:or|maybe|possibly|perhaps|plus|minus|times|squared|cubed|hundred|thousand|million|billion|dozen)\b"
    r"|to\s+\$?\d|and\b(?=[^.\n]*\d))|\s*/\s*\$",
    re.IGNORECASE,
)
_LINK = re.compile(r"\s*(?:,?\s*(and|or)|,)\s*(?=\$|\\\()")
_BETWEEN = re.compile(r"\s*(?:[,;]?\s*(?:and|or)|,)\s*")
_NOT_BUT = re.compile(r"not\b[^\n]{0,60}?\bbut\s+", re.IGNORECASE)
_UNIT = re.compile(r"\s?(?:%|(?:percent|degrees?|" + "|".join(name for name in UNITS if len(name) > 1) + r")\b)")


def stated_answer(text: str) -> str | None:
    """Find the answer that a text states.

    Args:
        text: what a model wrote after its thought, without a box.

    Returns:
        What follows the last `####`; else the formula or number after the last "answer is" or "answer:"; else the last
        formula or number of all. None where the text has none: without a box an answer in words is not read.
    """
    if marks := _MARK.findall(text):
        return str(marks[-1]).strip() or None
    text = _NO_ANSWER.sub("", _BOLD.sub("", text))
    cues = list(_CUE.finditer(text))
    for cue in reversed(cues[-_CUES:]):
        rest = text[cue.end() : cue.end() + 1000]
        if (found := _first(rest)) is not None:
            return found
    return None if cues else _last(text)


def states_answer(text: str) -> bool:
    """Whether a text says "answer is", "answer:" or `####` before its answer."""
    return _CUE.search(text) is not None or "####" in text


def _first(rest: str) -> str | None:
    """The answer at the beginning of what follows "answer is"."""
    rest = rest.lstrip()
    if (swap := _NOT_BUT.match(rest)) is not None:
        rest = rest[swap.end() :]
    formula = _formula_at(rest)
    end = _SENTENCE_END.search(rest)
    clause = rest if end is None else rest[: end.start()]
    if formula is not None and formula.start() <= len(clause):
        before = clause[: formula.start()]
        if not re.search(r"\d", before):
            joined, place = _joined(rest, formula)
            return None if _is_open(before, rest, place) else joined
    for run, begin, place in _runs(clause):
        return None if _is_open(clause[:begin], rest, place) else run
    return None


def _is_open(before: str, rest: str, place: int) -> bool:
    """Whether what stands before and after a formula denies it, goes on with it, or asks."""
    return bool(_DENIED.search(before) or _GOES_ON.match(rest, place) or _ASKED.match(rest, place))


def _last(text: str) -> str | None:
    """The last formula, with those that `and`, `or` or a comma joins to it, or number of a text, whichever is later."""
    text = text[-2000:]
    formulas: list[re.Match[str]] = []
    for formula in _FORMULA.finditer(text):
        if _is_money(text, formula):
            formulas.clear()
            continue
        if formulas and not _BETWEEN.fullmatch(text, formulas[-1].end(), formula.start()):
            formulas.clear()
        formulas.append(formula)
    start = formulas[-1].end() if formulas else 0
    for line in reversed(_SENTENCE_END.split(text[start:])):
        if line and (runs := [run for run, *_ in _runs(line) if re.search(r"\d", run)]):
            return runs[-1]
    return _joined(text, formulas[0])[0] if formulas else None


def _formula_at(text: str) -> re.Match[str] | None:
    found = _FORMULA.search(text)
    return None if found is None or _is_money(text, found) else found


def _is_money(text: str, formula: re.Match[str]) -> bool:
    """Whether two amounts of dollars look like a formula: $5 and $7."""
    inner = formula[2]
    return inner is not None and inner[0].isdigit() and text[formula.end() : formula.end() + 1].isdigit()


def _joined(text: str, formula: re.Match[str]) -> tuple[str, int]:
    """A formula, with those that `and`, `or` or a comma joins to it, and its unit; and where they end."""
    parts, end = [_inside(formula)], formula.end()
    while (link := _LINK.match(text, end)) and (more := _FORMULA.match(text, link.end())):
        parts += [rf"\text{{ {link[1]} }}" if link[1] else ",", _inside(more)]
        end = more.end()
    percent = re.compile(r"\s*(?:\\?%|percent\b)").match(text, end)
    return "".join(parts) + (r"\%" if percent else ""), percent.end() if percent else end


def _inside(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group is not None).strip()


def _runs(clause: str) -> list[tuple[str, int, int]]:
    """The stretches of a clause that are mathematics, each with the unit that follows it, its start and its end."""
    found = []
    for match in _RUN.finditer(clause):
        run = _EDGES.sub("", _EDGES.sub("", match[0]))
        if not re.search(r"\d|\\[A-Za-z]|[√π∞]", run) and not re.fullmatch(r"\(?[A-Z]\)?|.*[a-z].*[+\-*/^=].*", run):
            continue
        unit = _UNIT.match(clause, match.end())
        place = unit.end() if unit else match.start() + match[0].rfind(run) + len(run)
        found.append((run + (f" {unit[0].strip()}" if unit else ""), match.start(), place))
    return found
