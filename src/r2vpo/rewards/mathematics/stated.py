"""Find the answer that a text states without a box."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.denied import (
    CONTRAST,
    GOES_ON,
    NO_ANSWER,
    NOT_THE_ANSWER,
    RULED_OUT,
    SUPPOSED,
    TAKEN_BACK,
    is_asked,
    is_denied,
)
from r2vpo.rewards.mathematics.units import UNITS
from r2vpo.rewards.mathematics.words import DIRECTION

_MARK = re.compile(r"####[ \t]*([^\n]*)")
_CUES = 3
"""The number of occurrences of "answer is" that are examined, from the last one."""
_BOLD = re.compile(r"(?<![\w)}])\*\*|\*\*(?![\w({])")
_CUE = re.compile(
    r"\banswer(?: (?:to|of|for) [^\n.$]{0,60}?(?= is\b))?[ \t]*"
    r"(?:(?:is|are|was|equals|(?:will|would|should|must) be)\b[ \t]*(?:therefore|thus|then|simply)?[ \t]*[:=]?|[:=])"
    r"(?![ \t]*\})[ \t]*\n?",
    re.IGNORECASE,
)
_FORMULA = re.compile(
    r"\$\$([^$]+)\$\$|(?<![\\$])\$([^$\n]+)(?<!\\)\$|\\\(([^\n]+?)\\\)|(?<!\\)\\\[(.+?)\\\]"
    r"|(\\begin\{((?:align|equation|gather|multline|eqnarray|split)(?:ed|at)?\*?)\}.+?\\end\{\6\})",
    re.DOTALL,
)
_SENTENCE_END = re.compile(
    r"\.(?=\s|$)|\n|\s\((?=not\b)|[!?;](?=\s)|,\s+(?=(?:not|but|because|since|which|so|as|where|and so|although)\b)"
    r"|\s(?=(?:because|since)\b)|,?\s+\(?(?=(?:i\.\s?e\b|that\s+is,|in\s+other\s+words))(?:i\.\s?e\.?)?",
    re.IGNORECASE,
)
_RUN = re.compile(
    r"(?:\\[A-Za-z]+|\\[{}%,;!$ ]|[\d.,:+\-*/^_=<>()\[\]{}|!%$&°√π∞≤≥≠×÷·±∓⁄¼-¾⅐-⅞−–—⁰¹²³⁴-⁹⁻₀-₉]"
    r"|(?<![A-Za-z'\u2019])[A-Za-z](?![A-Za-z])"
    r"|(?<![A-Za-z])(?:pi|sqrt|log|ln|sin|cos|tan|or|and|percent|e)(?![A-Za-z])|(?<=%\s)of(?=\s\$?\d)|(?<=\d)e\d|[ ])+"
)
_ASIDE = re.compile(
    r"(?:(?<=[\d$%])\s+\((?!\s*(?:or|maybe|possibly|perhaps)\b)"
    r"|(?<=[A-Za-z])\s+\((?=\s*(?:about|approximately|approx|roughly|around|since|because|which\s+is|that\s+is|i\.e|[=≈])))"
    r"[^()\n]{0,80}\)(?=\s*(?:[.,;!]|$|\n))",
    re.IGNORECASE,
)
_CLAUSES = re.compile(r"[.;!?](?=\s)|\n|,\s+but\b", re.IGNORECASE)
_LAYOUT = re.compile(
    r"<<[^<>\n]*>>|</?(?:b|strong|i|em|u|p|div|span|code|br)\b[^<>\n]*>|^\s*>\s"
    r"|\$\$?\s*\\(?:qed|qedsymbol|square|blacksquare|Box)\s*\$\$?",
    re.IGNORECASE | re.MULTILINE,
)
"""Calculations of GSM8K, HTML tags, quotations, and the sign at a proof's end."""
_MARKER = re.compile(
    r"\$\$[^$]{1,2000}\$\$|\\\[.{1,2000}?\\\]|\\begin\{(?P<kind>[a-z]{4,9}\*?)\}.{1,2000}?\\end\{(?P=kind)\}"
    r"|^(?P<marker>[ \t]*(?:[-\u2013*\u2022][ \t]+(?=\S))?"
    r"(?:(?:Case|Day|Example|Exercise|Level|Month|Part|Problem|Question|Round|Stage|Step|Task|Week|Year)"
    r"[ \t]+\d+[ \t]*:[ \t])?)",
    re.DOTALL | re.MULTILINE,
)
"""At a line's beginning: the dash of a list, which is not a minus sign, and a number that only numbers an item."""
_POWER_APART = re.compile(r"(?<=[A-Za-z])\s?\$\s*\^\s*\{?\s*(\d)\s*\}?\s*\$")
_POWER_BARE = re.compile(r"(?<=\d)(\s?(?:mm|cm|dm|km|m|ft|yd))([23])(?!\w)")
_UNIT_APART = re.compile(r"(?<=[\d}])\s*\$\s+\$\s*(?=\\(?:text|mathrm)\s*\{[^{}$]*\}(?:\s*\^\s*\{?\d\}?)?\s*\$)")
_CORRECTED = re.compile(
    r"[^.\n]*?\bbut\s+(?=[^.\n]*\b(?:actually|correct\w*|really|in fact|should|now|instead)\b[^.\n]*\d)", re.IGNORECASE
)
_WAS_BUT = re.compile(r"[^.\n]*?\bbut\s+(?=[^.\n]*\d)", re.IGNORECASE)
"""A mistake and the words before its correction: `18 but I corrected it to`."""
_WHICH_IS = re.compile(r",\s*which\s+(?:is|equals|gives)\s+(?=[^.\n]*\d)", re.IGNORECASE)
_SENTENCES = re.compile(r"(?<=[.!?])(?=\s)|(?=\n)")
_DIGIT = "[\\d¼-¾⅐-⅞]"
_EDGES = re.compile(r"^(?:[-=]>|[\s,:=*]|\.(?!\d)|(?:a|I|and|or)\s)+|(?:[\s,:=*]|\s(?:a|I|and|or)|\s\()+$")
_LINK = re.compile(r"\s*(?:,?\s*(and|or)|,)\s*(?=\$|\\\()")
_BETWEEN = re.compile(r"\s*(?:[,;]?\s*(?:and|or)|,)\s*")
_NOT_BUT = re.compile(r"not\b[^\n]{0,60}?(?:\bbut\s+|[,;]\s*(?:it['\u2019]s|it\s+is|rather)\s+)", re.IGNORECASE)
_OR_ELSE = re.compile(
    r"\s*,?\s*\(?or\s+(?:equivalently,?\s+)?(?:\$([^$\n]+)\$|((?:\d[\d.,/]*)?\d(?![\w/])(?:\s?\\?%)?))", re.IGNORECASE
)
"""The answer again, in another form."""
_NAMES = "|".join(sorted((name for name in UNITS if len(name) > 1), key=len, reverse=True))
_POWER = r"(?:\s?\^\s?\{?\d\}?|[²³]|\s(?:squared|cubed)\b)?"
_UNIT = re.compile(
    rf"\s?(?:\\?%|(?:percent|degrees?|(?:hundred|thousand|million|billion|dozen)s?"
    rf"|(?:(?:square|cubic|sq\.?|cu\.?)\s)?(?!in\s+[a-z$\\])(?:{_NAMES}))(?![^\W²³]){_POWER}"
    rf"(?:\s?(?:/|per\b)\s?(?:{_NAMES}|[hsgmlL])(?![^\W²³]){_POWER})?)"
)
_DIRECTION = re.compile(rf"\s?({DIRECTION})\b")
_SIDE_BEFORE = re.compile(r"\b(increase|decrease|rise|drop|gain|loss|profit)\s+(?:of|is|was)\s*[$(]*$", re.IGNORECASE)
_LETTER_UNIT = re.compile(r"(?<=\d) ([mgshlLNJWVKA])(\^\{?[23]\}?|[²³])?$")


def stated_answer(text: str) -> str | None:
    """Find the answer that a text states, which a model wrote after its thought and without a box.

    Returns:
        What follows the last `####`; else the formula or number after the last "answer is" or "answer:"; else the last
        formula or number of the text. None if the text has none: without a box, an answer in words is not read.
    """
    if marks := _MARK.findall(text):
        mark = str(marks[-1]).strip()
        return mark if mark and not is_hedged(mark) else None
    text = _tidied(text)
    cues = list(_CUE.finditer(text))
    for cue in reversed(cues[-_CUES:]):
        rest = text[cue.end() : cue.end() + 1000]
        if (
            not TAKEN_BACK.search(text[max(0, cue.start() - 100) : cue.start()])
            and (found := _first(rest, past="was" in cue[0].lower())) is not None
        ):
            return found
    if not cues:
        return _last(text)
    end = _CLAUSES.search(text, cues[-1].end())
    return None if end is None else _last(text[end.end() :])


def states_answer(text: str) -> bool:
    """Whether a text says "answer is", "answer:" or `####` before its answer."""
    return _CUE.search(text) is not None or "####" in text


def is_hedged(text: str) -> bool:
    """Whether a short answer has a number and words next to it that deny or bound it, such as `at least 18`."""
    digits = [found.end() for found in re.finditer(r"\d", text)]
    return bool(digits) and (is_denied(text[: digits[0] - 1]) or any(is_asked(text, end) for end in digits))


def _tidied(text: str) -> str:
    """Return a text without layout, asides, and what it says the answer is not."""
    text = _MARKER.sub(lambda found: "" if found["marker"] else found[0], _BOLD.sub("", _LAYOUT.sub("", text)))
    text = text.replace("sq. ", "sq ").replace("cu. ", "cu ")
    text = _UNIT_APART.sub(" ", _POWER_BARE.sub(r"\1^\2", _POWER_APART.sub(r"^\1", text)))
    text = _ASIDE.sub("", CONTRAST.sub("", NO_ANSWER.sub("", text)))
    sentences = _SENTENCES.split(text)
    return "".join(part for part in sentences if not (NOT_THE_ANSWER.search(part) or SUPPOSED.search(part)))


def _first(rest: str, *, past: bool) -> str | None:
    """Return the answer at the beginning of the text after "answer is" or, if `past`, after "answer was"."""
    rest = rest.lstrip()
    if (corrected := (_WAS_BUT if past else _CORRECTED).match(rest)) is not None:
        rest = rest[corrected.end() :]
    if (
        (which := _WHICH_IS.search(rest)) is not None
        and (stop := _SENTENCES.search(rest))
        and which.end() < stop.start()
    ):
        rest = rest[which.end() :]
    if (swap := _NOT_BUT.match(rest)) is not None:
        rest = rest[swap.end() :]
    formula = _formula_at(rest)
    end = _SENTENCE_END.search(rest)
    clause = rest if end is None else rest[: end.start()]
    if formula is not None and formula.start() <= len(clause):
        before = clause[: formula.start()]
        if not re.search(r"\d", before):
            return _unless_open(before, rest, *_joined(rest, formula))
    for run, begin, place in _runs(clause):
        return _unless_open(clause[:begin], rest, run, place)
    return None


def _unless_open(before: str, rest: str, answer: str, place: int) -> str | None:
    """Return an answer and its other form, unless the text around it denies it, continues it, or asks for it."""
    if (other := _OR_ELSE.match(rest, place)) is not None:
        answer, place = rf"{answer} \text{{ or }} {other[1] or other[2]}", other.end()
    return None if is_denied(before) or GOES_ON.match(rest, place) or is_asked(rest, place) else answer


def _last(text: str) -> str | None:
    """Return the last formula, with those joined to it by `and`, `or` or a comma, or the last number if it comes later.

    A number that a sentence denies, bounds or asks for is skipped, and so is the same number before it.
    """
    text = "".join(part for part in _SENTENCES.split(text[-2000:]) if not part.rstrip().endswith("?"))
    formulas: list[re.Match[str]] = []
    denied: set[str] = set()
    start = 0
    for formula in _FORMULA.finditer(text):
        if _is_money(text, formula):
            formulas.clear()
            continue
        start = _unit_at(text, formula.end())[1]
        if RULED_OUT.match(text, start):
            denied.add(_said(_inside(formula)))
        if is_asked(text, start) or is_denied(text[max(0, formula.start() - 60) : formula.start()], near=True):
            continue
        if formulas and not (
            _BETWEEN.fullmatch(text, formulas[-1].end(), formula.start()) and _alike(formulas[-1], formula)
        ):
            formulas.clear()
        formulas.append(formula)
    if (run := _last_run(text[start:], denied)) is not None:
        return run
    if formulas and _said(_inside(formulas[-1])) not in denied:
        return _joined(text, formulas[0])[0]
    return _last_run(_FORMULA.sub(" ", text), denied)


def _last_run(text: str, denied: set[str]) -> str | None:
    for line in reversed(_SENTENCE_END.split(text)):
        for run, begin, place in reversed(_runs(line or "")):
            if not re.search(_DIGIT, run):
                continue
            if RULED_OUT.match(line, place):
                denied.add(_said(run))
            elif _said(run) not in denied and not (is_asked(line, place) or is_denied(line[:begin], near=True)):
                return run
    return None


def _said(formula: str) -> str:
    return formula.rpartition("=")[2].strip()


def _alike(formula: re.Match[str], other: re.Match[str]) -> bool:
    """Whether two formulas are values, or give values to the same name; a condition and a result are not alike."""
    sides = [re.split(r"(=|[<>]|\\(?:le|ge|ne|leq|geq|neq)(?![A-Za-z]))", _inside(one)) for one in (formula, other)]
    return [part.strip() for part in sides[0][:-1]] == [part.strip() for part in sides[1][:-1]]


def _formula_at(text: str) -> re.Match[str] | None:
    found = _FORMULA.search(text)
    return None if found is None or _is_money(text, found) else found


def _is_money(text: str, formula: re.Match[str]) -> bool:
    """Whether two dollar amounts look like a formula: $5 and $7."""
    inner = formula[2]
    return inner is not None and inner[0].isdigit() and text[formula.end() : formula.end() + 1].isdigit()


def _joined(text: str, formula: re.Match[str]) -> tuple[str, int]:
    """Return a formula with its unit and those joined to it by `and`, `or` or a comma, and where they end."""
    parts, end = [_inside(formula)], formula.end()
    while (link := _LINK.match(text, end)) and (more := _FORMULA.match(text, link.end())):
        parts += [rf"\text{{ {link[1]} }}" if link[1] else ",", _inside(more)]
        end = more.end()
    unit, end = _unit_at(text, end)
    return "".join(parts) + unit, end


def _unit_at(text: str, place: int) -> tuple[str, int]:
    """Return the unit that follows an amount, with a word of direction after it, and where they end."""
    unit = _UNIT.match(text, place)
    place = place if unit is None else unit.end()
    side = _DIRECTION.match(text, place)
    return (
        (f" {unit[0].strip()}" if unit else "") + (rf" \text{{{side[1]}}}" if side else ""),
        side.end() if side else place,
    )


def _inside(formula: re.Match[str]) -> str:
    return next(group for group in formula.groups() if group is not None).strip()


def _runs(clause: str) -> list[tuple[str, int, int]]:
    """Return the parts of a clause that are mathematics, each with the unit that follows it, its start and its end."""
    found: list[tuple[str, int, int]] = []
    for match in _RUN.finditer(clause):
        if found and match.start() < found[-1][2]:  # the power of a unit
            continue
        run = _EDGES.sub("", _EDGES.sub("", match[0]))
        if re.fullmatch(r"[^()\[\]{}]+[)\]}]", run):  # the bracket was opened before the words
            run = run[:-1].strip()
        if not re.search(_DIGIT + r"|\\[A-Za-z]|[√π∞]", run) and not re.fullmatch(
            r"\(?[A-Z]\)?|.*[a-z].*[+\-*/^=].*", run
        ):
            continue
        unit, place = _unit_at(clause, match.end())
        place = place if unit else match.start() + match[0].rfind(run) + len(run)
        run = _LETTER_UNIT.sub(r" \\text{ \1}\2", run)
        if (side := _SIDE_BEFORE.search(clause[: match.start()][-30:])) is not None:
            unit += rf" \text{{ {side[1]}}}"
        found.append((run + unit, match.start(), place))
    return found
