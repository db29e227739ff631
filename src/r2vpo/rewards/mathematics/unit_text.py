"""Units as they are written: with symbols, as fractions, in several parts, in Roman type or plain."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.units import read_unit
from r2vpo.rewards.mathematics.words import CHANGES_VALUE

_UNIT_FRACTION = re.compile(
    r"\\[dt]?frac\s*\{\s*\\(?:text|mathrm)\s*\{\s*([A-Za-z ]+)\}\s*(\^\s*\d)?\s*\}"
    r"\s*\{\s*\\(?:text|mathrm)\s*\{\s*([A-Za-z ]+)\}\s*(\^\s*\d)?\s*\}"
)
_SYMBOLS = {
    r"\Omega": "ohm",
    r"\AA": "angstrom",
    r"\mu": "micrometer",
    r"M_\odot": "solar masses",
    r"M_{\odot}": "solar masses",
    r"\textcent": "cents",
}
_SYMBOL_UNIT = re.compile(
    r"(?<=[\d}])(?:\\[,;: ]|[~\s])*(?:\\(?:mathrm|text)\s*\{\s*)?"
    r"(\\Omega|\\AA|\\textcent|M_\\odot|M_\{\\odot\}|\\mu(?=\s*(?:\\(?:text|mathrm)\s*\{\s*m\s*\}|m\b)))(?![A-Za-z])"
    r"(?:\s*\\(?:text|mathrm)\s*\{\s*m\s*\}|\s*m\b)?\s*\}?(?=\s*$)"
)
_COMPOUND = re.compile(
    r"(?<=[\d}])(?:\\[,;: ]|[~\s])*((?:\\(?:text|mathrm)\s*\{(?:[^{}]|\{[^{}]*\})*\}|\\cdot(?![A-Za-z])|[/()\s~]"
    r"|\\[,;: ]|\^\s*(?:\{\s*-?\d\s*\}|-?\d))+)$"
)
"""The text from a number to the end, if it consists only of words and signs of units."""
_PLAIN_UNIT = re.compile(
    r"(?<=\d)(?:\\[,;: ]|[~\s])+([A-Za-z]{1,3}(?:\s*\^\s*\{?-?\d\}?)?\s*/\s*[a-z]{1,3}(?:\s*\^\s*\{?-?\d\}?)?)\s*$"
)
_ROMAN_UNIT = re.compile(
    r"(?<=[\d}])(?P<space>(?:\\[,;: ]|[~\s])*(?:(?:/|\\cdot)\s*)?)"
    r"\\(?:mathrm|text)\s*\{\s*(?P<unit>[mgshLlNJWVKA])\s*\}"
)


def plain_units(text: str) -> str:
    r"""Write a unit after a number in one `\text{}`."""
    text = _COMPOUND.sub(_compound, text)
    text = _SYMBOL_UNIT.sub(lambda found: rf"\text{{ {_SYMBOLS[found[1].strip()]}}}", text)
    text = _UNIT_FRACTION.sub(r"\\text{ \1\2/\3\4}", text)
    return _PLAIN_UNIT.sub(_plain_unit, _ROMAN_UNIT.sub(r"\g<space>\\text{ \g<unit>}", text))


def _compound(found: re.Match[str]) -> str:
    r"""Write a unit in several parts, `\mathrm{J} /(\mathrm{mol} \cdot \mathrm{K})`, as one text."""
    plain = re.sub(r"\\(?:text|mathrm|cdot)\s*|[{}~]|\\[,;: ]|\^\s*\\circ", " ", found[1])
    plain = " ".join(re.sub(r"\s*\^\s*", "^", plain).split())
    is_unit = re.fullmatch(r"(?:[A-Za-z]+(?:\^-?\d)?|[\s/()])+", plain) and re.search(r"[/^ ]", plain)
    if (
        not is_unit
        or not ("/" in plain or "\\cdot" in found[1])
        or CHANGES_VALUE.search(plain)
        or plain.count("(") != plain.count(")")
    ):
        return found[0]
    return rf"\text{{ {plain}}}"


def _plain_unit(found: re.Match[str]) -> str:
    """Read `5 m/s`, with a space, as a speed; `5m/s` is a quotient."""
    measure = re.sub(r"[{}]", "", found[1])
    return rf"\text{{ {measure}}}" if read_unit(measure) is not None else found[0]
