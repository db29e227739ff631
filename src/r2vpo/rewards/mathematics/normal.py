"""An answer in plain LaTeX: one spelling for everything that looks the same."""

from __future__ import annotations

import re
from collections.abc import Callable

from r2vpo.rewards.mathematics.braces import CLOSING, closing, rewrite
from r2vpo.rewards.mathematics.characters import plain_characters
from r2vpo.rewards.mathematics.words import FUNCTIONS, SPACED_LETTER, plain_words, text_command

_FONTS = re.compile(
    r"\\(?:math(?:rm|bf|it|sf|tt|normal)|boldsymbol|bm|pmb|bold|rm|bf|it|tt|sf|em|underline|uline|ensuremath|boxed|fbox"
    r"|overset\s*\{\s*\}|mathop|smash)\s*(?=\{)"
)
_TEXTS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal|sc|up|md)?|mbox|hbox|emph)\s*(?=\{)")
_OPERATOR = re.compile(r"\\operatorname\*?\s*(?=\{)")
_COLOURED = re.compile(r"\\(?:textcolor|colorbox)\s*\{[^{}]*\}|\\color\s*(?:\{[^{}]*\}|\[[^\[\]]*\]\{[^{}]*\})")
_SWITCHES = re.compile(
    r"\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|normalsize|large|Large"
    r"|LARGE|huge|Huge|bf|it|rm|tt|sf|em|bfseries|itshape|mathstrut|strut|allowbreak|nobreak|centering|hfill)(?![A-Za-z])"
    r"|\\[hv]space\*?\s*\{[^{}]*\}|\\label\s*\{[^{}]*\}|\\tag\*?\s*\{[^{}]*\}"
)
_SPACES = re.compile(
    r"(?<!\\)\\(?:[,;:> ]|(?:quad|qquad|thinspace|enspace|space|medspace|thickspace|nbsp)(?![A-Za-z]))|[~\s]"
)
_NEGATIVE_SPACE = re.compile(r"\\!|\\negthinspace(?![A-Za-z])")
_DELIMITERS = re.compile(r"\\[()]|(?<!\\)\\[\[\]]|\*\*|__|`")
_POWER = re.compile(r"(?<=[\w)}])\s?\*\*\s?(?=[\w({-])")
_MATRIX = re.compile(r"\\begin\s*\{")
_COMMA_GROUP = re.compile(r"(?<=\d)(?:\{\s*,\s*\}|,\\!|\\text\s*\{\s*,\s*\}|,\\,)\s*(?:\\!)*(?=\d{3}(?!\d))")
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,])(?<!\d )\d{1,3}(?:[ _]\d{3})+(?! ?[\d/])(?! ?\\frac)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_ODD_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{2})*,(?:0\d{2,}|\d{3})(?!,?\d)")
_FRACTION = re.compile(r"\\[dtcs]?frac(?![A-Za-z])|\\nicefrac(?![A-Za-z])")
_BINOMIAL = re.compile(r"\\[dt]?binom(?![A-Za-z])")
_ROOT = re.compile(r"\\sqrt(?P<index>\s*\[[^\[\]]*\])?")
_CHOOSE = re.compile(
    r"\{\}\s*[\^_]\s*\{?(\w+)\}?\s*C\s*_\s*\{?(\w+)\}?|(?<![A-Za-z])C_\s*\{?(\w+)\}?\s*\^\s*\{?(\w+)\}?"
)
_MIXED = re.compile(r"(?<![\d./^_{])(\d+) +(\d+) ?/ ?(\d+)(?![\d./])")
_DEGREES = re.compile(r"\s*(?:\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\degree(?![A-Za-z])|\\deg(?![A-Za-z]))\s*")
_PERCENT = re.compile(r"\s*(?:\{\s*\\?%\s*\}|\\?%|\\(?:text|mathrm)\s*\{\s*\\?%\s*\})")
_SYNONYMS = tuple(
    (re.compile(pattern), plain)
    for pattern, plain in (
        (r"\\(?:leq|leqslant|leqq)(?![A-Za-z])|<=|=<", r"\\le "),
        (r"\\(?:geq|geqslant|geqq)(?![A-Za-z])|>=", r"\\ge "),
        (r"\\neq(?![A-Za-z])|!=|\\not\s*=", r"\\ne "),
        (r"\\lt(?![A-Za-z])|&lt;", "<"),
        (r"\\gt(?![A-Za-z])|&gt;", ">"),
        (r"\\(?:approx|simeq|doteq|coloneqq|triangleq)(?![A-Za-z])|:=|==", "="),
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
        (r"\s*\\text\{\s*degrees?\s*\}", r"\\degree "),
        (r"\\(?:lor|vee)(?![A-Za-z])", r"\\text{or}"),
        (r"\\(?:land|wedge)(?![A-Za-z])", r"\\text{and}"),
    )
)
_BRACED_SIGN = re.compile(r"(?<!\\)\{\s*(\\\$|[=<>])\s*\}")
_MONEY = re.compile(
    r"(?:(?:US|U\.S\.)\s*)?(?:\\\$|\\textdollar(?![A-Za-z]))\s*"
    r"(?P<sign>[-+]?)\s*(?P<number>\d[\d,]*\.?\d*|\.\d+)?"
)
_BRACED_NUMBER = re.compile(r"(?<![\w}^_\]\\])\{\s*(\d[\d.]*)\s*\}")
_REMARK = re.compile(r"(?<=[\d}])\s+\((?:[^()=]{0,40}=[^()]{0,40}|\s*\\text\{[^{}]*\}\s*)\)$")
_PUNCTUATION = re.compile(r"(?:[\s.,;:?\\]|\\text\{[\s.,;:]*\})+$")
_QUOTES = re.compile('["“”]|``')
_ORDINAL = re.compile(
    r"(?<=\d)\s*(?:\^\s*\{\s*)?(?:\\text\s*\{\s*(?:st|nd|rd|th)\s*\}|(?:st|nd|rd|th)(?![A-Za-z]))(?:(?<=\})\s*\})?"
)
_ROMAN_UNIT = re.compile(r"(?<=[\d}])(?P<space>\s*(?:(?:/|\\cdot)\s*)?)\\mathrm\s*\{\s*(?P<unit>[mgshLlNJWVKA])\s*\}")
_ZERO = re.compile(r"(?<![\d.}])\.(?=\d)")


def normalise(text: str) -> str:
    r"""Write an answer in plain LaTeX.

    Args:
        text: an answer, or a gold answer, without brackets more than ten deep.

    Returns:
        LaTeX with `\frac{}{}`, `\sqrt{}`, `\binom{}{}`, `\text{}`, `\%`, `\degree`, numbers without separators, and
        without layout, fonts, delimiters, and punctuation at its end.
    """
    for rule in RULES:
        text = rule(text)
    return text.strip()


def _layout(text: str) -> str:
    """Fonts, sizes, colours, delimiters and spaces say nothing about the answer."""
    if "\\\\" in text and not _MATRIX.search(text):
        text = re.sub(r"\\\\(?=[A-Za-z])", r"\\", text)
    text = _COLOURED.sub("", _QUOTES.sub(" ", text))
    text = _SPACES.sub(" ", _COMMA_GROUP.sub("", text))
    text = _DELIMITERS.sub(" ", _POWER.sub("^", text))
    text = _PERCENT.sub(r"\\%", text)
    text = _DEGREES.sub(r"\\degree ", text)
    text = _ROMAN_UNIT.sub(r"\g<space>\\text{ \g<unit>}", text)
    text = rewrite(text, _OPERATOR, 1, _operator)
    text = rewrite(text, _FONTS, 1, _without_font)
    text = _SWITCHES.sub(" ", text)
    text = rewrite(text, _TEXTS, 1, text_command)
    return " ".join(_SPACES.sub(" ", _NEGATIVE_SPACE.sub("", text)).split())


def _without_font(_: re.Match[str], inner: str) -> str:
    if "\\" not in inner and re.search(r"[A-Za-z]{2}", inner):
        return rf"\text{{{inner}}}" if not re.fullmatch(r"\s*[A-Z]{2,4}\s*", inner) else inner
    if SPACED_LETTER.fullmatch(inner):
        return text_command(None, inner)
    return f"{{{inner}}}" if re.fullmatch(r"\d{2,}", inner) else f" {inner.strip()} "


def _operator(_: re.Match[str], name: str) -> str:
    name = name.strip()
    return rf"\{name} " if name in FUNCTIONS else rf"\text{{{name}}}"


def _money(text: str) -> str:
    r"""`\$36` is 36 dollars; `$` in pairs are delimiters, and one alone is money."""
    text = _BRACED_SIGN.sub(r"\1", text)
    if (text.replace(r"\$", "")).count("$") % 2:
        text = re.sub(r"(?<!\\)\$(?=\s*[-+]?[\d.])", r"\\$", text, count=1)
    text = re.sub(r"(?<!\\)\$", " ", text)

    def write(found: re.Match[str]) -> str:
        return rf"{found['sign']}{found['number']}\text{{ dollars}}" if found["number"] else " "

    return _MONEY.sub(write, text)


def _synonyms(text: str) -> str:
    text = _ORDINAL.sub("", text)
    for pattern, plain in _SYNONYMS:
        text = pattern.sub(plain, text)
    return text


def _thousands(text: str) -> str:
    """9,500 and 9 500 are 9500; inside brackets a comma separates, unless LaTeX says otherwise."""
    text = _SPACED_THOUSANDS.sub(lambda found: re.sub("[ _]", "", found[0]), text)
    if not re.search(r"[(\[]|\\\{", text):
        for pattern in (_THOUSANDS, _ODD_THOUSANDS):
            text = pattern.sub(lambda found: found[0].replace(",", ""), text)
    return text


def _commands(text: str) -> str:
    """Commands whose arguments may have no braces, and what means a binomial coefficient."""
    text = rewrite(text, _FRACTION, 2, lambda _, above, below: rf"\frac{{{above}}}{{{below}}}")
    text = rewrite(text, _BINOMIAL, 2, lambda _, above, below: rf"\binom{{{above}}}{{{below}}}")
    text = re.sub(r"\\sqrt\s*\(", lambda found: r"\sqrt(", text)
    while (start := text.find(r"\sqrt(")) >= 0:
        if (end := closing(text, start + 5)) < 0:
            break
        text = rf"{text[:start]}\sqrt{{{text[start + 6 : end]}}}{text[end + 1 :]}"
    text = rewrite(text, _ROOT, 1, lambda found, inner: rf"\sqrt{(found['index'] or '').strip()}{{{inner}}}")
    text = _CHOOSE.sub(_choose, text)
    text = re.sub(r"\^\s*(\d{2,})", r"^{\1}", text)  # 2^10 means 1024, whatever LaTeX sets
    return _MIXED.sub(r"\1\\frac{\2}{\3}", text)


def _choose(found: re.Match[str]) -> str:
    above, below = (found[1], found[2]) if found[1] else (found[3], found[4])
    if above.isdigit() and below.isdigit() and int(above[:5]) < int(below[:5]):
        return found[0]
    return rf"\binom{{{above}}}{{{below}}}"


def _ends(text: str) -> str:
    text = _PUNCTUATION.sub("", text)
    text = _REMARK.sub("", text)
    text = _ZERO.sub("0.", text).replace("{.}", ".")
    text = _BRACED_NUMBER.sub(r"\1", text)
    while text.startswith("{") and closing(text, 0) == len(text) - 1:
        text = text[1:-1].strip()
    return " ".join(text.split())


RULES: tuple[Callable[[str], str], ...] = (
    plain_characters,
    _layout,
    _money,
    _synonyms,
    _thousands,
    _commands,
    plain_words,
    _ends,
)
"""In this order; each takes and gives an answer."""

__all__ = ["CLOSING", "normalise"]
