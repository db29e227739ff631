"""Rewrite an answer in plain LaTeX, with one spelling for everything that looks the same."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import partial

from r2vpo.rewards.mathematics.amounts import plain_money, plain_multiples, without_separators
from r2vpo.rewards.mathematics.appearance import plain_appearance
from r2vpo.rewards.mathematics.braces import closing, infix, rewrite
from r2vpo.rewards.mathematics.characters import plain_characters
from r2vpo.rewards.mathematics.words import plain_words

_OVER = re.compile(r"\\over(?![A-Za-z])")
_CHOOSES = re.compile(r"\\(?:choose|atopwithdelims\s*\(\s*\))(?![A-Za-z])")
_FRACTION = re.compile(r"\\[dtcs]?frac(?![A-Za-z])|\\nicefrac(?![A-Za-z])")
_BINOMIAL = re.compile(r"\\[dt]?binom(?![A-Za-z])")
_ROOT = re.compile(r"\\sqrt(?P<index>\s*\[[^\[\]]*\])?")
_CHOOSE = re.compile(
    r"(?:\{\}|(?<![\w}\])]))\s*[\^_]\s*\{?(\w+)\}?\s*C\s*_\s*\{?(\w+)\}?"
    r"|(?<![A-Za-z])C\s?_\s*\{?(\w+)\}?\s*\^\s*\{?(\w+)\}?|(?<![A-Za-z])C\s?\^\s*\{?(?P<below>\d+)\}?\s*_\s*\{?(?P<above>\d+)\}?"
    r"|(?<![A-Za-z])C\s?\(\s*(?P<of>\d+)\s*,\s*(?P<taken>\d+)\s*\)"
)
_EMPTY = re.compile(r"[\^_]\s*\{\s*\}|(?<![}A-Za-z\\])\{\s*\}(?!\s*[\^_])")
_MIXED = re.compile(r"(?<![\d./^_{])(\d+) +(\d+) ?/ ?(\d+)(?![\d./])")
_SYNONYMS = tuple(
    (re.compile(pattern), partial(re.Match.expand, template=plain))  # a template takes time even without a match
    for pattern, plain in (
        (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![A-Za-z])|&lt;", "<"),
        (r"\\gt(?![A-Za-z])|&gt;", ">"),
        (r"\\(?:approx|simeq|doteq)(?![A-Za-z])", r"\\approx "),
        (r"\\(?:coloneqq|triangleq)(?![A-Za-z])|:=|==|\\text\{\s*(?:is|equals|is equal to)\s*\}", "="),
        (r"\\(?:varnothing|emptyset)(?![A-Za-z])|\\\{\s*\\\}", r"\\emptyset "),
        (r"\\(?:dots[cbmio]?|ldots|cdots|hdots)(?![A-Za-z])|\.\s?\.\s?\.", r"\\ldots "),
        (r"\\(?:backslash|smallsetminus)(?![A-Za-z])", r"\\setminus "),
        (r"\\(?:lbrace)(?![A-Za-z])", r"\\{"),
        (r"\\(?:rbrace)(?![A-Za-z])", r"\\}"),
        (r"\\(?:lbrack)(?![A-Za-z])", "["),
        (r"\\(?:rbrack)(?![A-Za-z])", "]"),
        (r"\\(?:lvert|rvert|vert|mid)(?![A-Za-z])", "|"),
        (r"\\(?:colon|ratio)(?![A-Za-z])", ":"),
        (r"\\(?:Reals|reals|R)(?![A-Za-z])|\\mathbb\s*R(?![A-Za-z])|\\mathbb\s*\{\s*R\s*\}", r"\\mathbb{R}"),
        (r"\\(?:div)(?![A-Za-z])", "/"),
        (r"\\(?:times|ast|cdotp)(?![A-Za-z])", r"\\cdot "),
        (r"\\lg(?![A-Za-z])", r"\\log_{10}"),
        (r"\\log_\s*(\d)", r"\\log_{\1}"),
        (r"(?<!\\)\{([,.:;])\}", r"\1"),
        (r"\\(?:pounds|textsterling)(?![A-Za-z])", r"\\text{ pounds}"),
        (r"\\(?:euro|texteuro)(?![A-Za-z])", r"\\text{ euros}"),
        (r"\\imath(?![A-Za-z])", "i"),
        (r"\\mathbb\{R\}\s*-\s*(?=\\\{)", r"\\mathbb{R} \\setminus "),
        (r"(?<=[)\]])\s*U\s*(?=[(\[])", r" \\cup "),
        (r"\\log_\s*(?:\{\s*e\s*\}|e(?![A-Za-z]))", r"\\ln "),
        (r"\\(overline|bar)\s*(\d)", r"\\\1{\2}"),
        (r"(?<=\d)\s*(?:e\s*\{|\\text\{\s*[eE])\s*([-+]?\d+)\s*\}", r"e\1"),
        (r"\(\s*\\?(?:text\{\s*mod\s*\}|mod(?![A-Za-z])|pmod(?![A-Za-z]))\s*\{?\s*(\w+)\s*\}?\s*\)", r"\\pmod{\1}"),
        (r"\\p?mod(?![A-Za-z])\s*(?:\{\s*(\w+)\s*\}|(\w+))", r"\\pmod{\1\2}"),
        (r"\s*\\text\{\s*\(\s*(?:or\s+)?([-\d.,/\\%]+)\s*\)\s*\}$", r"\\text{or} \1"),
        (r"(?<![\\A-Za-z])sqrt(?=\s*[({\d])", r"\\sqrt"),
        (r"(?<=\d)(?<!\b0)\s*[xX]\s*(?=\d)", r"\\cdot "),
        (r"\\%\s*(?:\\text\{\s*of\s*\}|of\b)\s*", r"\\% \\cdot "),
        (r"(?<=\d):00\s*(?=\\text\{\s*[AaPp]\.?[Mm])", " "),
        (r"\b([ap])\.\s?m\.?(?![A-Za-z])", r"\1m"),
        (r"(?<=\d)\s*(?:\\text\{\s*to\s*\}|(?<=\s)to(?=\s))\s*(?=\d)", ":"),
        (r"\s*\\text\{\s*degrees?\s*\}", r"\\degree "),
        (r"\\(?:lor|vee)(?![A-Za-z])", r"\\text{or}"),
        (r"\\(?:land|wedge)(?![A-Za-z])", r"\\text{and}"),
    )
)
_BRACED_NUMBER = re.compile(r"(?<![\w}^_\]\\])\{\s*(\d[\d.]*)\s*\}")
_BRACED_FRACTION = re.compile(r"(?<=\d)\{\s*(\\frac\{\d+\}\{\d+\})\s*\}")
_POINT = re.compile(r"[A-Z]'?\s?(\(\s*-?[\d\\][^()]*,[^()]*\))")
_REMARK = re.compile(r"(?<=[\d}])\s*\((?:[^()=]{0,40}(?:=|\\approx)[^()]{0,40}|\s*\\text\{[^{}]*\}\s*)\)$")
_PUNCTUATION = re.compile(
    r"(?:[\s.,;:?\\]|\\text\{[\s.,;:]*\}|(?<=\S)\s*\\(?:qed|qedsymbol|square|blacksquare|Box|checkmark)(?![A-Za-z]))+$"
)
_ORDINAL = re.compile(
    r"(?<=\d)\s*\^\s*\{\s*(?:\\text\s*\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th))\s*\}|"
    r"(?<=\d)\s*(?:\^\s*\{\s*)?(?:\\text\s*\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th)(?![A-Za-z]))(?:(?<=\})\s*\})?"
)
_INTERVAL = re.compile(
    r"(?P<before>^\s*|\\(?:in|cup|cap|setminus)\s*)(?P<opens>[\[\](])(?P<inner>[^\[\](),;]+[,;][^\[\](),;]+)(?P<closes>[\[\])])"
    r"(?=\s*(?:$|\\(?:cup|cap|setminus)))"
)
_TURNED = re.compile(r"^\s*\]|\\(?:in|cup|cap|setminus)\s*\]|\[\s*$|\[\s*\\(?:cup|cap|setminus)")
_PLAIN_NUMBER = re.compile(r"-?\d+(?:\.\d+)?")
_ZERO = re.compile(r"(?<![\d.}])\.(?=\d)")


def normalise(text: str) -> str:
    r"""Write an answer in plain LaTeX.

    Args:
        text: an answer, or a gold answer, with brackets at most ten deep.

    Returns:
        LaTeX with `\frac{}{}`, `\sqrt{}`, `\binom{}{}`, `\text{}`, `\%`, `\degree` and numbers without separators; it
        has no layout, fonts, delimiters or punctuation at its end.
    """
    if _PLAIN_NUMBER.fullmatch(text):
        return text
    for rule in RULES:
        text = rule(text)
    return text.strip()


def _synonyms(text: str) -> str:
    text = _ORDINAL.sub("", text)
    for pattern, plain in _SYNONYMS:
        text = pattern.sub(plain, text)
    return text


def _commands(text: str) -> str:
    """Rewrite commands whose arguments lack braces or come before them, and other forms of binomial coefficients."""
    text = infix(text, _OVER, lambda above, below: rf"\frac{{{above}}}{{{below}}}")
    text = infix(text, _CHOOSES, lambda above, below: rf"\binom{{{above}}}{{{below}}}")
    text = rewrite(text, _FRACTION, 2, lambda _, above, below: rf"\frac{{{above}}}{{{below}}}")
    text = rewrite(text, _BINOMIAL, 2, lambda _, above, below: rf"\binom{{{above}}}{{{below}}}")
    text = re.sub(r"\\sqrt\s*\(", lambda found: r"\sqrt(", text)
    while (start := text.find(r"\sqrt(")) >= 0:
        if (end := closing(text, start + 5)) < 0:
            break
        text = rf"{text[:start]}\sqrt{{{text[start + 6 : end]}}}{text[end + 1 :]}"
    text = rewrite(text, _ROOT, 1, lambda found, inner: rf"\sqrt{(found['index'] or '').strip()}{{{inner}}}")
    text = _EMPTY.sub("", _CHOOSE.sub(_choose, text))
    text = re.sub(r"\^\s*(\d{2,})", r"^{\1}", text)  # 2^10 means 1024, whatever LaTeX typesets
    return _MIXED.sub(r"\1\\frac{\2}{\3}", text)


def _choose(found: re.Match[str]) -> str:
    pairs = (
        (found[1], found[2]),
        (found[3], found[4]),
        (found["above"], found["below"]),
        (found["of"], found["taken"]),
    )
    above, below = next(pair for pair in pairs if pair[0])
    if above.isdigit() and below.isdigit() and int(above[:5]) < int(below[:5]):
        return found[0]
    return rf"\binom{{{above}}}{{{below}}}"


def _french(text: str) -> str:
    """Write `]2,5[` as `(2,5)`: a bracket that turns away from an interval's end excludes it."""

    def write(found: re.Match[str]) -> str:
        opens, closes = found["opens"].replace("]", "("), found["closes"].replace("[", ")")
        return f"{found['before']}{opens}{found['inner']}{closes}"

    return _INTERVAL.sub(write, text) if _TURNED.search(text) else text


def _ends(text: str) -> str:
    text = _PUNCTUATION.sub("", re.sub(r"^'([^']*)'$", r"\1", text))
    text = _REMARK.sub("", text)
    text = _POINT.sub(r"\1", text) if _POINT.fullmatch(text) else text
    text = _ZERO.sub("0.", text).replace("{.}", ".")
    text = _BRACED_FRACTION.sub(r"\1", _BRACED_NUMBER.sub(r"\1", text))
    while text.startswith("{") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return " ".join(text.split())


RULES: tuple[Callable[[str], str], ...] = (
    plain_characters,
    plain_appearance,
    plain_money,
    _synonyms,
    without_separators,
    _commands,
    plain_words,
    plain_multiples,
    _french,
    _ends,
)
"""The rules in this order; each takes an answer and returns one."""
