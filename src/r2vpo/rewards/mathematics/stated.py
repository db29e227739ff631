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
    r"\.(?=\s|$)|\n|\s\((?=not\b)|[!?;](?=\s)|,\s+(?=(?:not|but|because|since|which|so|as|where|and so|although)\b)"
    r"|\s(?=(?:because|since)\b)",
    re.IGNORECASE,
)
_RUN = re.compile(
    r"(?:\\[A-Za-z]+|\\[{}%,;!$ ]|[\d.,:+\-*/^_=<>()\[\]{}|!%$&°√π∞≤≥≠×÷·±∓⁄¼-¾⅐-⅞−–—]"
    r"|(?<![A-Za-z'\u2019])[A-Za-z](?![A-Za-z])"
    r"|(?<![A-Za-z])(?:pi|sqrt|log|ln|sin|cos|tan|or|and|percent|e)(?![A-Za-z])|(?<=\d)e\d|[ ])+"
)
_NO_ANSWER = re.compile(
    r"\banswer\s+(?:can(?:not|['\u2019]t)|(?:could|should|would|must|is|was)n['\u2019]t"
    r"|(?:can|could|should|would|must|may|will)\s+(?:not|never))\b(?:[^.\n!?]|\.(?=\d))*",
    re.IGNORECASE,
)
"""From "the answer cannot be" to the sentence's end."""
_NOT_THE_ANSWER = re.compile(
    r"\b(?:is|are|was)\s+(?:\w+ly\s+)?not\s+(?:the\s+|a\s+)?(?:right\s+|correct\s+)?(?:answer|result|solution)\b",
    re.IGNORECASE,
)
_CONTRAST = re.compile(
    r"(?:[,(\u2014\u2013]|\s-)\s*(?:and\s+|but\s+)?not\s+(?!only\b)(?:[^.,;\n()]|[.,](?=\d))*\d(?:[^.,;\n()]|[.,](?=\d))*\)?"
    r"|(?<=[\d$])\s+not\s+(?:[^.,;\n()]|[.,](?=\d))*\d(?:[^.,;\n()]|[.,](?=\d))*"
    r"|\s(?:rather\s+than|instead\s+of|and\s+not|but\s+not)\s(?:[^.,;\n()]|[.,](?=\d))*\d(?:[^.,;\n()]|[.,](?=\d))*",
    re.IGNORECASE,
)
"""What an answer is set against: `15, not 30`."""
_ASIDE = re.compile(
    r"(?<=[\d$%])\s+\((?!\s*(?:or|maybe|possibly|perhaps)\b)[^()\n]{0,80}\)(?=\s*(?:[.,;!]|$|\n))", re.IGNORECASE
)
_CLAUSES = re.compile(r"[.;!?](?=\s)|\n|,\s+but\b", re.IGNORECASE)
_LAYOUT = re.compile(
    r"<<[^<>\n]*>>|</?(?:b|strong|i|em|u|p|div|span|code|br)\b[^<>\n]*>|^\s*>\s", re.IGNORECASE | re.MULTILINE
)
"""The calculations of GSM8K, tags of HTML, and quotations."""
_WHICH_IS = re.compile(r",\s*which\s+(?:is|equals|gives)\s+(?=[^.\n]*\d)", re.IGNORECASE)
_SENTENCES = re.compile(r"(?<=[.!?])(?=\s)|(?=\n)")
_ASKED = re.compile(
    r"[\s$*)]*(?:\?|(?:is|are|was|were|seems|would\s+be|must\s+be)\s+(?:\w+ly\s+)?(?:not|wrong|incorrect|false)\b|squared\b|cubed\b"
    r"|factorial\b|or\s+(?:more|less|fewer|greater)\b|(?:isn|wasn)['\u2019]t\b"
    r"|can(?:not|['\u2019]t)\s+be\b)",
    re.IGNORECASE,
)
"""After a formula: a question, or words that deny it."""
_TAKEN_BACK = re.compile(
    r"(?:(?:n['\u2019]t|\b(?:not|never|nobody|no\s+one))\s+(?:\w+\s+){0,2}?"
    r"(?:think|thinks|believe|say|claim|agree|mean|imply|sure|certain|clear|true|correct|right|case|possible|likely)\b"
    r"|\b(?:(?<!no\s)doubt|false|wrong|unlikely|whether|suppose|assume|if|thought)\b)"
    r"(?:(?!\b(?:and|so|but|hence|therefore|thus|then|because|since)\b)[^.\n;:,])*$",
    re.IGNORECASE,
)
"""Before "answer is", in its sentence: words that take it back."""
_DIGIT = "[\\d¼-¾⅐-⅞]"
_EDGES = re.compile(r"^(?:[\s,:=*]|\.(?!\d)|(?:a|I|and|or)\s)+|(?:[\s,:=*]|\s(?:a|I|and|or)|\s\()+$")
_DENIED = re.compile(
    r"\b(?:not|cannot|never|neither|at least|at most|(?:less|more|fewer|greater|smaller|larger|other) than"
    r"|negative|minus|twice|double|except|but|between|from|up to|over|under|above|below|beyond|exceeds?|nearly|almost"
    r"|close to|rule out|reject|wrong to|incorrect to"
    r"|(?:half|third|quarter|multiple|divisor|factor|reciprocal|logarithm|log|cube|square|root|negative|opposite|inverse"
    r"|power|digit|prime|factorial|percent)s?\s+of)\b|n't\b",
    re.IGNORECASE,
)
_DENIED_NEAR = re.compile(rf"(?:{_DENIED.pattern})(?:\s+[A-Za-z]+){{0,3}}[\s$*(]*$", re.IGNORECASE)
"""The same a few words before a number."""
_GOES_ON = re.compile(
    r"[\s;,(]*(?:(?:or|maybe|possibly|perhaps|plus|minus|times|squared|cubed|hundred|thousand|million|billion|dozen"
    r"|choose|factorial|divided\s+by|multiplied\s+by|to\s+the\s+power|(?:less|more)\s+than)\b"
    r"|to\s+\$?\d|and\b(?=[^.\n]*\d)|(?:if|when)\b(?=[^.\n]*\b(?:otherwise|else|and)\b))|\s*/\s*\$"
    r"|;\s*\$?-?\d|(?:st|nd|rd|th)\s+\w",
    re.IGNORECASE,
)
_LINK = re.compile(r"\s*(?:,?\s*(and|or)|,)\s*(?=\$|\\\()")
_BETWEEN = re.compile(r"\s*(?:[,;]?\s*(?:and|or)|,)\s*")
_NOT_BUT = re.compile(r"not\b[^\n]{0,60}?\bbut\s+", re.IGNORECASE)
_UNIT = re.compile(
    r"\s?(?:%|(?:percent|degrees?|(?:hundred|thousand|million|billion|dozen)s?|"
    + "|".join(name for name in UNITS if len(name) > 1)
    + r")\b)(?:\s?\^\s?\{?\d\}?|[²³])?"
)
_LETTER_UNIT = re.compile(r"(?<=\d) ([mgshlLNJWVKA])(\^\{?[23]\}?|[²³])?$")


def stated_answer(text: str) -> str | None:
    """Find the answer that a text states.

    Args:
        text: what a model wrote after its thought, without a box.

    Returns:
        What follows the last `####`; else the formula or number after the last "answer is" or "answer:"; else the last
        formula or number of all. None where the text has none: without a box an answer in words is not read.
    """
    if marks := _MARK.findall(text):
        mark = str(marks[-1]).strip()
        return mark if mark and not is_hedged(mark) else None
    text = _ASIDE.sub("", _CONTRAST.sub("", _NO_ANSWER.sub("", _BOLD.sub("", _LAYOUT.sub("", text)))))
    text = "".join(part for part in _SENTENCES.split(text) if not _NOT_THE_ANSWER.search(part))
    cues = list(_CUE.finditer(text))
    for cue in reversed(cues[-_CUES:]):
        rest = text[cue.end() : cue.end() + 1000]
        if (
            not _TAKEN_BACK.search(text[max(0, cue.start() - 100) : cue.start()])
            and (found := _first(rest)) is not None
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
    """Whether a short answer has a number and words beside it that deny or bound it, `at least 18`."""
    number = re.search(r"\d", text)
    return number is not None and bool(
        _DENIED.search(text[: number.start()]) or re.search(r"\d" + _ASKED.pattern, text, re.I)
    )


def _first(rest: str) -> str | None:
    """The answer at the beginning of what follows "answer is"."""
    rest = rest.lstrip()
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
            joined, place = _joined(rest, formula)
            return None if _is_open(before, rest, place) else joined
    for run, begin, place in _runs(clause):
        return None if _is_open(clause[:begin], rest, place) else run
    return None


def _is_open(before: str, rest: str, place: int) -> bool:
    """Whether what stands before and after a formula denies it, continues it, or asks for it."""
    return bool(_DENIED.search(before) or _GOES_ON.match(rest, place) or _ASKED.match(rest, place))


def _last(text: str) -> str | None:
    """The last formula, with those of its form that `and`, `or` or a comma joins to it, or number, whichever is later.

    What a sentence denies, bounds or asks for is passed over.
    """
    text = "".join(part for part in _SENTENCES.split(text[-2000:]) if not part.rstrip().endswith("?"))
    formulas: list[re.Match[str]] = []
    start = 0
    for formula in _FORMULA.finditer(text):
        if _is_money(text, formula):
            formulas.clear()
            continue
        start = formula.end()
        if _ASKED.match(text, start) or _DENIED_NEAR.search(text[max(0, formula.start() - 60) : formula.start()]):
            continue
        if formulas and not (
            _BETWEEN.fullmatch(text, formulas[-1].end(), formula.start()) and _alike(formulas[-1], formula)
        ):
            formulas.clear()
        formulas.append(formula)
    if (run := _last_run(text[start:])) is not None:
        return run
    if formulas:
        return _joined(text, formulas[0])[0]
    return _last_run(_FORMULA.sub(" ", text))


def _last_run(text: str) -> str | None:
    for line in reversed(_SENTENCE_END.split(text)):
        for run, begin, place in reversed(_runs(line or "")):
            if re.search(_DIGIT, run) and not (_ASKED.match(line, place) or _DENIED_NEAR.search(line[:begin])):
                return run
    return None


def _alike(formula: re.Match[str], other: re.Match[str]) -> bool:
    """Whether two formulas are values, or give values to the same name; a condition and a result are not."""
    sides = [re.split(r"(=|[<>]|\\(?:le|ge|ne|leq|geq|neq)(?![A-Za-z]))", _inside(one)) for one in (formula, other)]
    return [part.strip() for part in sides[0][:-1]] == [part.strip() for part in sides[1][:-1]]


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
    found: list[tuple[str, int, int]] = []
    for match in _RUN.finditer(clause):
        if found and match.start() < found[-1][2]:  # the power of a unit
            continue
        run = _EDGES.sub("", _EDGES.sub("", match[0]))
        if not re.search(_DIGIT + r"|\\[A-Za-z]|[√π∞]", run) and not re.fullmatch(
            r"\(?[A-Z]\)?|.*[a-z].*[+\-*/^=].*", run
        ):
            continue
        unit = _UNIT.match(clause, match.end())
        place = unit.end() if unit else match.start() + match[0].rfind(run) + len(run)
        run = _LETTER_UNIT.sub(r" \\text{ \1}\2", run)
        found.append((run + (f" {unit[0].strip()}" if unit else ""), match.start(), place))
    return found
