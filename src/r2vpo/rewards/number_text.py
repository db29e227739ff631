r"""Find the number that a short answer states."""

from __future__ import annotations

import math
import re
import unicodedata

from r2vpo.rewards.arithmetic import evaluate, plain_signs
from r2vpo.rewards.denials import AND, EXCEPT, reach

READ_CHARACTERS = 2000

_SIGN = r"[-+]"
_WHOLE = r"(?>\d{1,3}(?P<mark>[, '\u2019_])\d{3}(?:(?P=mark)\d{3})*(?!\d)|\d{1,2}(?:,\d\d)+,\d{3}(?!\d)|\d+)"
_TEN = rf"10\s*(?:\^|\*\*)\s*\{{{{?\s*(?P<{{name}}>{_SIGN}?\d{{{{1,4}}}})\s*\}}}}?"
_MULTIPLES = {"hundred": 2, "thousand": 3, "million": 6, "billion": 9, "trillion": 12}
_NUMBER = re.compile(
    rf"""
    (?<![A-Za-z_\d.,])(?<!\d[:/])              # not the end of a name, a version or another number
    (?:(?P<sign>{_SIGN})(?P<apart>\s*)(?:[$€£¥]\s?)?)?
    (?:
        (?P<units>\d+)\s+(?P<over>\d+)\s*/\s*(?P<under>\d+)   # 1 1/2
      | {_TEN.format(name="ten")}
      | (?P<decimal>{_WHOLE}(?:\.(?!\.)\d*)?|\.\d+)
        (?:[eE](?P<exponent>{_SIGN}?\d{{1,4}})
          |\s*[x*\u00d7\u00b7]\s*{_TEN.format(name="power")})?
        (?:\s*/\s*(?P<divisor>\d+(?:\.\d+)?)|[\s-]*(?P<multiple>{"|".join(_MULTIPLES)})s?\b)?
    )
    (?![\d]|[.,/:]\d|[xXbBoO][\da-fA-F]|[eE][-+]?\d)      # 3.14.15, 12,34, 1/2/3, 12:30 and 0x10 are not numbers
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CANDIDATE = re.compile(r"[-+]|\.?\d")
_PARTS = r"(?:halves|(?:thi|four|fif|six|seven|eigh|nin|ten|hundred|thousand|million)(?:rd|th)s?)"
_FUNCTIONS = r"(?:sqrt|cbrt|log|ln|lg|exp|sin|cos|tan|cot|sec|csc|arc\w+|abs)"
# Context that makes a number part of a product, a power, a term, a bound or another number.
_GOES_ON = re.compile(
    rf"""
    \s*(?:\*\*|[-+*/^\u00d7\u00b7\u22c5\u00b1])\s*(?:[\d({{\\]|[b-hj-z](?![A-Za-z]))
    |[\u03c0^]|\s*\u221a|[A-Za-z]\s*[=^*+/]|(?:[xyz]+|[nkaeijqru])(?![A-Za-z\d])|\s+x(?![A-Za-z-])|_\s*\{{?\s*\w|\(\s*[-\d]
    |\s*\\(?:pi|tau|theta|sqrt|pm|mp|[bp]?mod|{_FUNCTIONS})(?![A-Za-z])
    |\s*(?:dozens?|squared|cubed|factorial|(?:percent|%)\s*of|pi|\(?mod|(?:less|more|fewer|greater)\s+than)\b
    |\s*(?:x|(?:plus|minus|times|over|choose|(?:divided|multiplied)\s+by)\s)\s*[-(]?\d
    |\s+(?:raised|to\s+the\s+(?:\w+\s+)?power|{_PARTS}|and\s+an?\s+(?:half|third|quarter))\b
    |(?:\s*[A-Za-z%]+)?\s+(?:(?:or|and)\s+(?:more|less|fewer|greater|higher|lower|larger|smaller|above|below|over|under|up|older|younger|later|earlier|longer)
        |at\s+(?:least|most))\b
    |\+(?!\s*\w)
    """,
    re.VERBOSE | re.IGNORECASE,
)
_ARITHMETIC = re.compile(r"(?:[\d.,\s()+\-*/^\u00d7\u00b7$%{}]|(?<=[\d)\s])x(?=\s*[\d(]))*[=\u2248]\s*")
_POWER = re.compile(r"[A-Za-z)\]}]\s*(?:\^|\*\*)\s*\{?\s*$")
# Context that makes a number the argument of a root, a function, a bound, or its negative; arrows and tags do not.
_GOES_BEFORE = re.compile(
    rf"""
    (?:\u221a|\b{_FUNCTIONS}(?:_\{{?\w+\}}?|\d+)?|[\u2260\u2264\u2265\u00b1]|\+/-?|\\(?:[lg]eq?(?:slant)?|neq?|lt|gt|pm)|-
    |(?:^|\s|(?<![<\w])\w)[<>]=?
    |\b(?:least|most|than|between|twice|double|triple|thrice|quadruple|up\s+to|upwards\s+of|in\s+excess\s+of|\w+\s+times|half|over|under|above|below|beyond|exceed(?:s|ing)?)
    |\b(?:half|halves|quarters?|{_PARTS}|{_FUNCTIONS}|percent|square|cube|root|reciprocal|inverse|factorial|opposite
        |negative|logarithm|sine|cosine|tangent|multiple|factor|divisor)\s+of
    )[\s$({{\[]*$
    |\b(?:wrong|incorrect|false)\s+\w+(?::|\s+is)?\s*$
    |_\s*\{{?\s*$|\|$
    """,
    re.VERBOSE | re.IGNORECASE,
)
_DENIED = re.compile(
    r"\b(?:not|never|cannot|\w+n['\u2019]t|neither|nor|nobody|no\s+(?:one|way)|(?<!no )doubt|unlikely|hardly"
    r"|impossible|suppos\w+|assum(?:e|ing)|whether|if\s+(?:it|the\s+answer)\s+(?:is|was|were)"
    r"|(?:false|wrong|incorrect)\s+(?:that|to|answer|number|value|result))\b",
    re.IGNORECASE,
)
_DENIED_AFTER = re.compile(
    r"(?:\s*[A-Za-z%]+)?\s+(?:(?:is|was|would\s+be|seems|looks)\s+(?:\w+ly\s+)?(?:not|never|wrong|incorrect|false|hardly"
    r"|far\s+from|a\s+mistake)|(?:isn|wasn)['\u2019]t|(?:cannot|can['\u2019]t|can\s+not)\s+be)\b|\s*\?",
    re.IGNORECASE,
)
_SENTENCE = re.compile(r"[.!?]\s")
_SECOND = re.compile(
    rf"(?P<unit>\s*(?!{AND}\b)[A-Za-z%]+)?"
    rf"(?P<gap>[ \t,;&(]*(?:-+[ \t]*(?=[A-Za-z]))?(?:\b{AND}(?![A-Za-z])[ \t.,;&/(]*){{0,5}}|\s*\.\.+\s*)"
    r"(?:[A-Za-z]\s*=\s*)?\$?(?=[-+]?\.?\d)",
    re.IGNORECASE,
)
_SIDES = re.compile(r"(?:^|[.,;:?]\s|\n)(?P<sides>[^,;:?\n]*)[=\u2248][\s$({]*$")
_LETTER = r"(?:(?<![A-Za-z\\])[A-Za-z](?![A-Za-z]))"
# An equation that is still to be solved: a product, a sum, a power or a function of a letter.
_UNSOLVED = re.compile(
    rf"^[\s$(]*(?:-[\s(]*{_LETTER}|(?!my|an|am|by)[xyzabmnpq]{{2}}[\s$)]*$|xyz|abc)|!\s*$|\|\s*{_LETTER}\s*\|"
    rf"|(?:\u221a|{_FUNCTIONS}(?:_\{{?\w+\}}?)?)[\s({{]*(?:{_LETTER}|(?<=\u221a)[a-z]|\\[a-z])"
    rf"|{_LETTER}\s*[-+*/^\u00d7\u00b7]\s*(?:[\d(]|{_LETTER})|\d\s*[-+*/\u00d7\u00b7]\s*{_LETTER}"
    r"|\\[dtc]?frac\s*(?!\{\s*d)(?:\{[^{}]*\})?\{[^{}]*[a-z]",
)
_MINUS = re.compile(r"\b(?:minus|negative)\s+\$?$", re.IGNORECASE)
_OFF = 0.02
"""Largest relative difference of a result from the arithmetic before it: results are often rounded."""
_FRACTION = re.compile(
    r"(?P<sign>-\s*)?\\[dtc]?frac\s*(?:\{\s*(?P<over>-?\s*\d+(?:\.\d+)?)\s*\}\s*\{\s*(?P<under>-?\s*\d+(?:\.\d+)?)\s*\}"
    r"|(?P<one>\d)\s*(?P<other>\d)(?!\d))"
)
_TEXT = re.compile(r"\\(?:text|math)[a-z]*\s*\{([^{}]*)\}|\\(?:boldsymbol|operatorname)\s*\{([^{}]*)\}")
_DEGREES = re.compile(r"\s*(?:\^\s*(?:\\circ|\{\s*\\circ\s*\})|\\degree)(?![A-Za-z])")
_LAYOUT = re.compile(r"\\(?:left|right|displaystyle|[bB]ig[lr]?)(?![A-Za-z])|\\(?=[{}])")
_DASHES = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-") | {"\u00f7": "/", "\u2044": "/"}
)
_OPERATORS = {"times": "\u00d7", "cdot": "\u00b7", "div": "/"}
_OPERATOR = re.compile(rf"\\({'|'.join(_OPERATORS)})(?![A-Za-z])")
_VULGAR = re.compile(r"[\u00bc-\u00be\u2150-\u215e]")
_RAISED = re.compile(r"[\u207a\u207b]?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+")
_SPACES = re.compile(r"[\u00a0\u2007\u2009\u200a\u202f~]|\\[,;:! ]|\\q?quad(?![A-Za-z])")


def first_number(text: str) -> float | None:
    r"""Return the first number of a text's first 2,000 characters, or None if there is none.

    Decimals, exponents (`1.5e9`, `1.5 \times 10^9`), fractions, mixed numbers (`1 1/2`) and thousands separated by
    commas, spaces or apostrophes are read, with Unicode signs and digits. For arithmetic that ends in an equals sign,
    such as `2 + 3 = 5`, the number after the sign counts. Arithmetic without a result states no number, and neither
    does a power, a root, a function, a bound or a part of a number, a multiple of a letter, an equation that is not
    solved (`|x| = 5`), or text that only looks like a number (`3.14.15`, `12,34`, `0x10`, `Area51`). Two numbers next
    to each other, such as `5 or 6`, state none. A number that is denied, supposed or asked about is skipped.
    """
    text = _plain(text[:READ_CHARACTERS])
    start = 0
    sides: list[str] = []
    for candidate in _CANDIDATE.finditer(text):
        if candidate.start() < start or not (found := _NUMBER.match(text, candidate.start())):
            continue
        if "=" not in text[: found.start()] and _POWER.search(text[max(0, found.start() - 8) : found.start()]):
            return None
        result = _ARITHMETIC.match(text, found.start())
        if result is None and _is_denied(text, found):
            start, sides = found.end(), []
            continue
        if result is None:
            value = None if _is_part(text, found) else _value(text, found)
            if value is None or not all(_is_near(side, value) for side in sides):
                return None
            return None if _has_second(text, found, value) else value
        if not _GOES_BEFORE.search(text[max(0, found.start() - 40) : found.start()]):
            sides.append(text[found.start() : result.end()].rstrip("=\u2248 "))
        start = result.end()
    return None


def _is_near(side: str, value: float) -> bool:
    """Whether arithmetic comes to a number or near it; True for text that is not arithmetic of whole numbers."""
    try:
        computed = float(evaluate(plain_signs(side)).value)
    except (ValueError, OverflowError):
        return True
    return abs(computed - value) <= _OFF * max(1.0, abs(value))


def _plain(text: str) -> str:
    """Rewrite a text with ASCII digits, signs and spaces, and with fractions written with a slash."""
    if not text.isascii():
        text = _VULGAR.sub(lambda found: _apart(found, unicodedata.normalize("NFKC", found.group())), text)
        text = _RAISED.sub(lambda found: "^" + unicodedata.normalize("NFKC", found.group()), text)
        text = "".join(map(_ascii, text)).translate(_DASHES)
    text = text.replace("{,}", ",").replace(r"\$", "$").replace(r"\%", "%")
    text = _OPERATOR.sub(lambda found: _OPERATORS[found[1]], text)
    text = _LAYOUT.sub("", _DEGREES.sub("\u00b0", _TEXT.sub(r" \1\2 ", _SPACES.sub(" ", text))))
    return _FRACTION.sub(_with_slash, text)


def _with_slash(found: re.Match[str]) -> str:
    """Return a fraction with a slash and at most one sign."""
    signs = "".join(found[name] or "" for name in ("sign", "over", "under"))
    over, under = (re.sub(r"[-\s]", "", found[a] or found[b]) for a, b in (("over", "one"), ("under", "other")))
    signless = f"{over}/{under}"
    if "-" in signs:
        return f"{'-' if signs.count('-') % 2 else '+' if found['sign'] else ' '}{signless}"
    return _apart(found, signless)


def _ascii(character: str) -> str:
    if "\uff01" <= character <= "\uff5e":
        return unicodedata.normalize("NFKC", character)
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def _apart(found: re.Match[str], fraction: str) -> str:
    """Separate a fraction from a whole number before it: 1 and a half is `1 1/2`."""
    return f" {fraction}" if found.string[: found.start()][-1:].isdigit() else fraction


def _is_part(text: str, found: re.Match[str]) -> bool:
    """Whether a number is part of something larger, or solves nothing, and is therefore not stated on its own."""
    before = text[: found.start()]
    if _GOES_ON.match(text, found.end()) or _GOES_BEFORE.search(before[-40:]):
        return True
    sides = _SIDES.search(before[-100:])
    return sides is not None and all(_UNSOLVED.search(side) for side in sides["sides"].split("="))


def _is_denied(text: str, found: re.Match[str]) -> bool:
    """Whether a number is denied, supposed or asked about in its own part of its sentence."""
    if _DENIED_AFTER.match(text, found.end()):
        return True
    before = _SENTENCE.split(text[max(0, found.start() - 80) : found.start()])[-1].replace("\u2019", "'")
    return EXCEPT.search(before) is not None or _DENIED.search(reach(before)) is not None


def _has_second(text: str, found: re.Match[str], value: float) -> bool:
    """Whether another number is stated next to a number, as in "42 or maybe 43"."""
    joined = _SECOND.match(text, found.end())
    if joined and joined["gap"].strip().startswith(".."):
        return True
    second = _NUMBER.match(text, joined.end()) if joined and joined["gap"] else None
    if joined is None or second is None or _is_denied(text, second) or _ARITHMETIC.match(text, second.start()):
        return False
    unit, gap = (joined["unit"] or "").strip(), joined["gap"].lower()
    if unit and not re.search(r"\bor\b", gap) and not text[second.end() :].lstrip().startswith(unit):
        return False
    return "".join(gap.split()) not in ("(", "(to") and _value(text, second) != value


def _value(text: str, found: re.Match[str]) -> float | None:
    if found["units"]:
        value = float(found["units"]) + _quotient(float(found["over"]), float(found["under"]))
    else:
        value = float(re.sub(r"[, '\u2019_]", "", found["decimal"] or "1"))
        power = int(found["exponent"] or found["power"] or found["ten"] or 0)
        power += _MULTIPLES.get((found["multiple"] or "").lower(), 0)
        value = float(f"{value!r}e{power}") if power and "e" not in repr(value) else value * 10.0 ** min(power, 308)
        if found["divisor"]:
            value = _quotient(value, float(found["divisor"]))
    if math.isnan(value):
        return None
    return -value if _is_minus(text, found) else value


def _quotient(over: float, under: float) -> float:
    return over / under if under and math.isfinite(over) else math.nan


def _is_minus(text: str, found: re.Match[str]) -> bool:
    """Whether the sign belongs to the number and is not a dash or a minus between two things."""
    before = text[: found.start()]
    if found["sign"] != "-":
        return _MINUS.search(before[-12:]) is not None and not re.search(r"\d\s*minus\s+\$?$", before[-20:])
    if found["apart"]:
        return before.strip("( $*=:") == "" or before.rstrip()[-1:] in "=:($"
    return not re.search(r"[\w)]$", before)
