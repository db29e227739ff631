"""Amounts: money, thousands separators, multiples in words, and bases in words."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.words import NUMBERS

_BRACED_SIGN = re.compile(r"(?<!\\)\{\s*(\\\$|[=<>])\s*\}")
_BRACED_POINT = re.compile(r"(?<=\d)\{\.\}(?=\d)")
_PART = r"\\[dt]?frac\s*(?:\{\s*\d+\s*\}|\d)\s*(?:\{\s*\d+\s*\}|\d)"
_NUMBER = r"(?:\d{1,3}(?: \d{3})+(?!\d)|\d+(?:,\d+)*\.?\d*|\.\d+)"
_MONEY = re.compile(
    r"(?:(?:US|U\.S\.)\s*)?(?:\\\$|\\textdollar(?![A-Za-z]))\s*(?P<sign>[-+]?)\s*"
    rf"(?P<number>(?:{_NUMBER}|{_PART})"
    rf"(?:\s*{_PART}|\s+\d+/\d+|/\d+|\s*\^\s*(?:\{{\s*\d+\s*\}}|\d)|\s*(?:\\cdot|\\times|\*)\s*{_NUMBER})*)?"
)
"""A dollar sign and the whole amount after it."""
_CURRENCY = re.compile(
    r"(?<![\d}])(?P<currency>\\text\{ ?(?:gbp|euros|yen|rupees)\})\s*(?P<sign>[-+]?)(?P<number>\d[\d,]*\.?\d*|\.\d+)"
)
_SPACED_THOUSANDS = re.compile(r"(?<![\d.,])(?<!\d )\d{1,3}(?:[ _'\u2019]\d{3})+(?! ?[\d/])(?! ?\\frac)")
_THOUSANDS = re.compile(r"(?<![\d.,])\d{1,3}(?:,\d{3})+(?!,?\d)")
_ODD_THOUSANDS = re.compile(r"(?<![\d.,])(?=[\d,]*,0\d)\d{1,3}(?:,\d{2})*,(?:0\d{2,}|\d{3})(?!,?\d)")
"""Groups of other lengths, `1,00,000`: no list item begins with a zero; without one it may be a list."""
_MULTIPLES = {
    "hundred": "100",
    "thousand": "1000",
    "million": "10^{6}",
    "billion": "10^{9}",
    "trillion": "10^{12}",
    "lakh": "10^{5}",
    "crore": "10^{7}",
    "dozen": "12",
}
_MULTIPLE = re.compile(
    rf"(?<=[\d}}])\s*(?P<money>\\text\{{ dollars\}})?"
    rf"\s*\\text\{{\s*(?P<word>{'|'.join(_MULTIPLES)})s?\b(?P<rest>[^{{}}]*)\}}",
    re.IGNORECASE,
)
_COUNTED = re.compile(
    rf"^\s*\\text\{{\s*({'|'.join(sorted(NUMBERS, key=len, reverse=True))})\s+(?=(?:{'|'.join(_MULTIPLES)})s?\b)",
    re.IGNORECASE,
)
_BASED = re.compile(
    r"(?<=[\dA-Fa-f)])\s*(?:\\text\{\s*(?:in\s+)?base[\s-]*\}\s*|\\text\{\s*(?:in\s+)?base[\s-]*(?=\w+\s*\}))(\w+)(?:\s*\})?$"
)


def plain_money(text: str) -> str:
    r"""Read `\$36` as 36 dollars; `$` in pairs are delimiters, and a single one is money."""
    text = _BRACED_POINT.sub(".", _BRACED_SIGN.sub(r"\1", text))
    if (text.replace(r"\$", "")).count("$") % 2:
        text = re.sub(r"(?<!\\)\$(?=\s*[-+]?[\d.])", r"\\$", text, count=1)
    text = re.sub(r"(?<!\\)\$", " ", text)

    def write(found: re.Match[str]) -> str:
        return rf"{found['sign']}{found['number']}\text{{ dollars}}" if found["number"] else " "

    return _CURRENCY.sub(r"\g<sign>\g<number>\g<currency>", _MONEY.sub(write, text))


def without_separators(text: str) -> str:
    """Read 9,500 and 9 500 as 9500, 10,20,100 as three; in brackets a comma separates unless LaTeX says otherwise."""
    text = _SPACED_THOUSANDS.sub(lambda found: re.sub(r"\D", "", found[0]), text)
    if not re.search(r"[(\[]|\\\{", text):
        for pattern in (_THOUSANDS, _ODD_THOUSANDS):
            text = pattern.sub(lambda found: found[0].replace(",", ""), text)
    return text


def plain_multiples(text: str) -> str:
    r"""Write `2 \text{million people}` as `2 \cdot 10^{6} \text{people}`, and `101 \text{base 2}` as `101_{2}`."""

    def write(found: re.Match[str]) -> str:
        rest = found["rest"].strip()
        return rf" \cdot {_MULTIPLES[found['word'].lower()]} {found['money'] or ''}" + (
            rf"\text{{{rest}}}" if rest else ""
        )

    if r"\text" in text:
        text = _COUNTED.sub(lambda found: rf"{NUMBERS[found[1].lower()]} \text{{", text)
    return _BASED.sub(r"_{\1}", _MULTIPLE.sub(write, text))
