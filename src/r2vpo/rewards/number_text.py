r"""The number that a short answer states."""

from __future__ import annotations

import math
import re
import unicodedata

from r2vpo.rewards.arithmetic import evaluate, plain_signs

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
      | (?P<decimal>{_WHOLE}(?:\.\d*)?|\.\d+)
        (?:[eE](?P<exponent>{_SIGN}?\d{{1,4}})
          |\s*(?:[x*\u00d7\u00b7]|\\times|\\cdot)\s*{_TEN.format(name="power")})?
        (?:\s*/\s*(?P<divisor>\d+(?:\.\d+)?)|[\s-]*(?P<multiple>{"|".join(_MULTIPLES)})s?\b)?
    )
    (?![\d]|[.,/:]\d|[xXbBoO][\da-fA-F]|[eE][-+]?\d)      # 3.14.15, 12,34, 1/2/3, 12:30 and 0x10 are no numbers
    """,
    re.VERBOSE | re.IGNORECASE,
)
_CANDIDATE = re.compile(r"[-+]|\.?\d")
# What makes a product, a power, a term or one of two of a number.
_GOES_ON = re.compile(
    r"\s*(?:\*\*|[-+*/^\u00d7\u00b7\u00b1])\s*[\d({\\]|[\u03c0^]|[A-Za-z]\s*[=^*+/]|\s*\\(?:pi|sqrt|pm)|\s+or\s+[-$]?\d"
    r"|[xyznk](?![A-Za-z])|\s*(?:dozens?|squared|cubed|factorial|percent\s+of)\b|\s+(?:plus|minus|times)\s+\d"
)
_ARITHMETIC = re.compile(r"(?:[\d.,\s()+\-*/^\u00d7\u00b7$%{}]|(?<=[\d)\s])x(?=\s*[\d(]))*[=\u2248]\s*")
_POWER = re.compile(r"[A-Za-z)\]}]\s*(?:\^|\*\*)\s*\{?\s*$")
# What makes a root or a bound of it; an arrow and a tag make none.
_GOES_BEFORE = re.compile(
    r"(?:\u221a|\\?sqrt\s*[{(]?|[\u2260\u2264\u2265\u00b1]|\+/-?|\\(?:leq?|geq?|neq?|lt|gt|pm)|(?:^|\s|(?<![<\w])\w)[<>]=?"
    r"|\b(?:not|never|least|most|than|between|twice|double|half\s+of|root\s+of|up\s+to)|n['\u2019]t)[\s$]*$",
    re.IGNORECASE,
)
_MINUS = re.compile(r"\b(?:minus|negative)\s+\$?$", re.IGNORECASE)
_OFF = 0.02
"""How far, relatively, a result may be from the arithmetic before it: results are often rounded."""
_FRACTION = re.compile(r"\\[dtc]?frac\s*(?:\{\s*(\d+)\s*\}\s*\{\s*(\d+)\s*\}|(\d)\s*(\d)(?!\d))")
_DASHES = str.maketrans(
    dict.fromkeys("\u2010\u2011\u2012\u2013\u2014\u2212\ufe63\uff0d", "-") | {"\u00f7": "/", "\u2044": "/"}
)
_VULGAR = re.compile(r"[\u00bc-\u00be\u2150-\u215e]")
_RAISED = re.compile(r"[\u207a\u207b]?[\u00b2\u00b3\u00b9\u2070\u2074-\u2079]+")
_SPACES = re.compile(r"[\u00a0\u2007\u2009\u200a\u202f~]|\\[,;:! ]")


def first_number(text: str) -> float | None:
    r"""Return the first number of a text, None when there is none.

    Read are decimals, exponents (`1.5e9`, `1.5 \times 10^9`), fractions, mixed numbers (`1 1/2`) and thousands with
    commas, spaces or apostrophes, with the signs and digits of Unicode. Of arithmetic that ends in an equals sign,
    such as `2 + 3 = 5`, the number after the sign counts; arithmetic without a result states no number, and neither
    does a power, a root, a multiple of a letter, or what only looks like a number (`3.14.15`, `12,34`, `0x10`,
    `Area51`).

    Args:
        text: an answer; its first 2,000 characters are read.
    """
    text = _plain(text[:READ_CHARACTERS])
    start, sides = 0, []
    for candidate in _CANDIDATE.finditer(text):
        if candidate.start() < start or not (found := _NUMBER.match(text, candidate.start())):
            continue
        if "=" not in text[: found.start()] and _POWER.search(text[max(0, found.start() - 8) : found.start()]):
            return None
        result = _ARITHMETIC.match(text, found.start())
        if result is None:
            value = None if _is_part(text, found) else _value(text, found)
            return value if value is not None and all(_is_near(side, value) for side in sides) else None
        sides.append(text[found.start() : result.end()].rstrip("=\u2248 "))
        start = result.end()
    return None


def _is_near(side: str, value: float) -> bool:
    """Whether arithmetic comes to a number or near it; what is no arithmetic of whole numbers is not asked."""
    try:
        computed = float(evaluate(plain_signs(side)).value)
    except (ValueError, OverflowError):
        return True
    return abs(computed - value) <= _OFF * max(1.0, abs(value))


def _plain(text: str) -> str:
    """A text with the digits, signs and spaces of ASCII, and fractions written with a slash."""
    if not text.isascii():
        text = _VULGAR.sub(lambda found: _apart(found, unicodedata.normalize("NFKC", found.group())), text)
        text = _RAISED.sub(lambda found: "^" + unicodedata.normalize("NFKC", found.group()), text)
        text = "".join(map(_ascii, text)).translate(_DASHES)
    text = text.replace("{,}", ",").replace(r"\$", "$").replace(r"\%", "%")
    text = _SPACES.sub(" ", text)
    return _FRACTION.sub(lambda found: _apart(found, f"{found[1] or found[3]}/{found[2] or found[4]}"), text)


def _ascii(character: str) -> str:
    if "\uff01" <= character <= "\uff5e":
        return unicodedata.normalize("NFKC", character)
    return str(unicodedata.decimal(character)) if character.isdecimal() else character


def _apart(found: re.Match[str], fraction: str) -> str:
    """A fraction, apart from a whole number before it: 1 and a half is `1 1/2`."""
    return f" {fraction}" if found.string[: found.start()][-1:].isdigit() else fraction


def _is_part(text: str, found: re.Match[str]) -> bool:
    """Whether a number is a part of something larger, which it does not state by itself."""
    return bool(
        _GOES_ON.match(text, found.end()) or _GOES_BEFORE.search(text[max(0, found.start() - 12) : found.start()])
    )


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
    """Whether the sign is the number's own and not a dash or a minus between two things."""
    before = text[: found.start()]
    if found["sign"] != "-":
        return _MINUS.search(before[-12:]) is not None and not re.search(r"\d\s*minus\s+\$?$", before[-20:])
    if found["apart"]:
        return before.strip("( $*=:") == "" or before.rstrip()[-1:] in "=:($"
    return not re.search(r"[\w)]$", before)
