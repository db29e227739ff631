"""Words in an answer: functions that lost their backslash, units, connectives, and answers that are words."""

from __future__ import annotations

import re

FUNCTIONS = frozenset(
    "sin cos tan cot sec csc arcsin arccos arctan sinh cosh tanh log ln exp sqrt pi max min gcd lcm det alpha "
    "beta gamma theta lambda sigma omega phi infty".split()
)
_SPELLED = {
    **dict.fromkeys(("infinity", "inf", "oo"), r"\infty"),
    **dict.fromkeys(("percent", "per cent", "pct", "percentage"), r"\%"),
}
_SHORT_WORDS = frozenset(
    "cm mm km nm dm ft in yd mi kg kgs mg lb lbs oz ozs gm gms ml cl cc sec secs min mins hr hrs yr yrs day mph kmh "
    "kph usd eur gbp rs dozen base sq cu deg rad hz am pm yes no odd even dne none".split()
)
CHANGES_VALUE = re.compile(
    r"\b(?:or|and|not|no|never|isn't|wrong|incorrect|if|else|unless|at least|at most|or more|or less"
    r"|(?:more|less|fewer|greater|smaller|larger|other) than|between|except|but|up to|negative|minus|plus|twice|thrice"
    r"|double|triple|half|halves|thirds|quarters|fourths|fifths|sixths|sevenths|eighths|ninths|tenths|hundredths"
    r"|thousandths|roots?|squared|cubed|factorial|hundred|thousand|million|billion|trillion|lakh|crore|dozen|pi|sqrt"
    r"|fails?|impossible|invalid|excluded|rejected|discarded|eliminated|extraneous|ruled out|assuming|provided"
    r"|possibly|probably|maybe|perhaps|everything|over|under|above|below|beyond|exceeds?|nearly|almost"
    r"|(?:multiple|factor|divisor|reciprocal|sum|product|difference|logarithm|inverse|digit|power|remainder|square|cube"
    r"|prime|opposite|number)s?\s+of)\b"
    r"|^\W*e\W*$",
    re.IGNORECASE,
)
"""Words next to a number that state another value, or several; they are never left out like a unit or a remark."""
_CONTRARY = (
    "increase increases increased rise gain gains profit profits surplus"
    " | decrease decreases decreased fall drop loss losses deficit",
    "more longer larger greater bigger faster older taller higher | less fewer shorter smaller slower younger lower",
    "north northern | south southern | east eastern | west western | northeast | northwest | southeast | southwest",
    "left | right",
    "up upward upwards | down downward downwards",
    "above over | below under",
    "forward forwards | backward backwards",
    "clockwise | counterclockwise anticlockwise",
    "inside | outside",
    "before early earlier | after late later",
    "win wins won | lose loses lost loss losses",
    "deposit deposits | withdrawal withdrawals",
    "credit | debit",
    "discount | markup premium",
    "celsius | fahrenheit | kelvin",
    "am morning | pm afternoon evening",
    "bc bce | ad ce",
    "jan january | feb february | mar march | apr april | may | jun june | jul july | aug august | sep sept september"
    " | oct october | nov november | dec december",
    "monday | tuesday | wednesday | thursday | friday | saturday | sunday",
)
"""Pairs of words that cannot both describe a number."""
_SIDES: dict[str, set[tuple[int, int]]] = {}
for _kind, _sides in enumerate(_CONTRARY):
    for _side, _words in enumerate(_sides.split("|")):
        for _one in _words.split():
            _SIDES.setdefault(_one, set()).add((_kind, _side))
DIRECTION = r"(?:(?:to\s|due\s)?(?:the\s)?(?:north|south|east|west|left|right)|increase|decrease|gain|loss|profit)"
"""Words of these that may follow a unit in a sentence."""


def are_contrary(one: str, other: str) -> bool:
    """Whether two texts say what cannot both be true, such as "increase" and "decrease".

    A word that occurs in only one of them makes no difference.
    """
    first, second = (
        {side for word in re.findall("[a-z]+", text.lower()) for side in _SIDES.get(word, ())} for text in (one, other)
    )
    shared = {kind for kind, _ in first} & {kind for kind, _ in second}
    return any(not {said for said in first & second if said[0] == kind} for kind in shared)


_WORD = re.compile(r"(?<![\\A-Za-z])(?<!\\text\{)[A-Za-z]{2,}(?![A-Za-z])")
_PROTECTED = re.compile(r"\\text\{[^{}]*\}|\\(?:begin|end)\s*\{[^{}]*\}(?:\s*\{[^{}]*\})?|\\[A-Za-z]+")
_NUMERIC = re.compile(r"[\s\d.,;:+\-*/^=()\[\]<>|!%\\$_{}]*")
_CALLED = re.compile(r"\s*[({_\\]")
_CHOICE = re.compile(r"\s*\(?\s*[A-Z]\s*[).:]?\s*(?:[-\d.,/]*)\s*")
SPACED_LETTER = re.compile(r"(?:\\?[\s~,;:])+[A-Za-z]\s*")
"""A unit: a letter separated by a space from the number before it."""
_LETTERS = re.compile(r"\s*[A-Z](?:\s*(?:,|,?\s*(?:and|or)\b)\s*[A-Z])+\s*")
_NAMES = re.compile(r"\s*[A-Z][a-z]+(?:(?:\s*,\s*(?:and\s+)?|\s+and\s+)[A-Z][a-z]+)+\s*")
_NUMBERS = re.compile(r"\s*-?\d[\d./]*(?:\s*(?:,|,?\s*(?:and|or)\b)\s*-?\d[\d./]*)+\s*")
_PHRASES = {
    **dict.fromkeys(("all real numbers", "real numbers", "all reals"), r"\mathbb{R}"),
    **{"empty set": r"\emptyset ", "negative infinity": r"-\infty ", "positive infinity": r"\infty "},
}
_FOLLOWS = re.compile(r"\\text\{([^{}]*)\}\s+([A-Za-z]{2,})(?![A-Za-z{(])")
_NUMBER_FIRST = re.compile(r"\s*([-+]?\\?\$?\s*\d[\d,]*(?:\.\d+)?)\s*([A-Za-z\\%].*|\([A-Za-z\s-]+\)\W*)", re.DOTALL)
_MONEY_LAST = re.compile(r"([A-Za-z][^\d\\$]*?)\s*(\\?\$\s*\d[\d,]*(?:\.\d+)?)\s*([^\d\\$]*)")
_CONNECTIVE = re.compile(r"[\s,;]*(or|and|not)[\s,;]*", re.IGNORECASE)


_MONTH = r"((?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*)\.?"
_DATE = re.compile(rf"(?:\\text\{{)?\s*\b{_MONTH}\s*\}}?\s*(\d{{1,2}})\s*,?\s*(\d{{4}})\b\s*\}}?")
_DAY_FIRST = re.compile(rf"(?:\\text\{{\s*)?\b(\d{{1,2}})\s*(?:\\text\{{\s*)?{_MONTH}\s*\}}?,?\s*(\d{{4}})\b\s*\}}?")
_UNITS_AND_TENS = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen",
    "twenty thirty forty fifty sixty seventy eighty ninety",
)
NUMBERS = {word: number for number, word in enumerate(_UNITS_AND_TENS[0].split())}
NUMBERS |= {word: 10 * number for number, word in enumerate(_UNITS_AND_TENS[1].split(), 2)}
NUMBERS |= {
    f"{ten}-{one}": NUMBERS[ten] + NUMBERS[one] for ten in _UNITS_AND_TENS[1].split() for one in list(NUMBERS)[1:10]
}
"""Numbers in words."""


def text_command(_: object, inner: str) -> str:
    r"""Return the replacement of `\text{...}` and similar commands.

    Returns:
        Numbers, commands, single letters and choices without `\text`; a number before its unit; otherwise
        `\text{...}` in one spelling.
    """
    if SPACED_LETTER.fullmatch(inner):
        return rf"\text{{ {inner.strip()[-1]}}}"
    if _NUMERIC.fullmatch(inner) or (_CHOICE.fullmatch(inner) and len(inner) < 20):
        return f" {inner.strip()} " if inner.strip() else " "
    if re.fullmatch(r"[A-Za-z]\s*", inner):
        return f" {inner.strip()} "
    if _NAMES.fullmatch(inner):
        return re.sub(r"\s*(?:,\s*and|,|and)\s+", r" \\text{and} ", re.sub(r"[A-Z][a-z]+", r"\\text{\g<0>}", inner))
    if _LETTERS.fullmatch(inner) or _NUMBERS.fullmatch(inner) or re.fullmatch(r"\s*[A-Za-z]\s*=[^A-Za-z]*", inner):
        return plain_words(inner)
    if "\\" in inner.replace(r"\$", "").replace(r"\%", ""):
        return inner
    if money := _MONEY_LAST.fullmatch(inner):
        return rf"\text{{{money[1]}}} {money[2]}" + (rf"\text{{{money[3]}}}" if re.search("[A-Za-z]", money[3]) else "")
    if number := _NUMBER_FIRST.fullmatch(inner):
        rest = number[2].strip()
        return number[1] + (rest if rest == r"\%" else rf"\text{{{rest}}}")
    if connective := _CONNECTIVE.fullmatch(inner):
        return rf"\text{{{connective[1].lower()}}}"
    word = inner.strip(" .,;:").lower()
    if word in _SPELLED:
        return f"{_SPELLED[word]} "
    return _PHRASES.get(word.removeprefix("the "), rf"\text{{{inner.strip()}}}")


def plain_words(text: str) -> str:
    r"""Write words outside `\text{}` as LaTeX would have them.

    Returns:
        Names of functions with a backslash, and units and other words in `\text{}`. Two or three letters that are not a
        known word, and capitals, are products or segments and are unchanged.
    """
    parts, position = [], 0
    text = _DAY_FIRST.sub(r"\\text{\2 \1 \3}", _DATE.sub(r"\\text{\1 \2 \3}", text))
    for protected in _PROTECTED.finditer(text):
        parts += [_WORD.sub(_word, text[position : protected.start()]), protected[0]]
        position = protected.end()
    parts.append(_WORD.sub(_word, text[position:]))
    return _FOLLOWS.sub(r"\\text{\1 \2}", "".join(parts))


def _word(found: re.Match[str]) -> str:
    word = found[0]
    lower = word.lower()
    if lower in ("or", "and", "not"):
        return rf"\text{{{lower}}}"
    if (
        word == "min"
        and re.search(r"[\d}]\s*$", found.string[: found.start()])
        and not _CALLED.match(found.string, found.end())
    ):
        return r"\text{min}"
    if lower in FUNCTIONS and word[0].islower():
        return rf"\{word} "
    if lower in _SPELLED:
        return f"{_SPELLED[lower]} "
    if lower in ("degree", "degrees"):
        return r"\degree "
    if lower in _SHORT_WORDS or (len(word) > 3 and not word.isupper()):
        return rf"\text{{{word}}}"
    return word
