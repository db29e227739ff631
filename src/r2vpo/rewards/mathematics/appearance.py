"""The appearance of an answer: fonts, sizes, colours, alignments, delimiters and spaces have no effect on it."""

from __future__ import annotations

import re

from r2vpo.rewards.mathematics.braces import rewrite
from r2vpo.rewards.mathematics.unit_text import plain_units
from r2vpo.rewards.mathematics.units import read_unit
from r2vpo.rewards.mathematics.words import FUNCTIONS, SPACED_LETTER, text_command

_WRAPPED = re.compile(
    r"^\s*(?:\*(?P<starred>[^*]+)\*|<(?P<tag>b|i|u|em|strong|span|code)\b[^<>]*>(?P<inner>.*)</(?P=tag)>)\s*$",
    re.DOTALL,
)
_BRACED = re.compile(r"\\(?:under|over)brace\s*(\{(?:[^{}]|\{[^{}]*\})*\})\s*(?:[_^]\s*\{(?:[^{}]|\{[^{}]*\})*\})?")
_FONTS = re.compile(
    r"\\(?:math(?:rm|bf|it|sf|tt|normal)|boldsymbol|bm|pmb|bold|rm|bf|it|tt|sf|em|underline|uline|ensuremath|boxed|fbox|framebox"
    r"|overset\s*\{\s*\}|mathop|smash|num)\s*(?=\{)"
)
_TEXTS = re.compile(r"\\(?:text(?:bf|it|rm|sf|tt|normal|sc|up|md)?|mbox|hbox|emph)\s*(?=\{)")
_OPERATOR = re.compile(r"\\operatorname\*?\s*(?=\{)")
_SWITCHED = re.compile(r"(?<![A-Za-z\]}^_*])\{\s*\\(?:rm|bf|it|sf|tt|em)(?![A-Za-z])\s*")
_ARROW = re.compile(r"\\(?:Rightarrow|implies|Longrightarrow|iff|Longleftrightarrow)(?![A-Za-z])|\s=>\s")
"""The text after the last arrow is the conclusion."""
_CONCLUDES = re.compile(r"^\s*(?:\\(?:therefore|because|Rightarrow|implies|Longrightarrow|iff|to)(?![A-Za-z])\s*)+")
_NUMBER_SETS = re.compile(
    r"\\Bbb\s*(?:\{\s*(?P<group>[A-Z])\s*\}|(?P<one>[A-Z])(?![A-Za-z]))|\\mathbf\s*(?:\{\s*R\s*\}|R(?![A-Za-z]))"
)
_INVISIBLE = re.compile(r"\\[hv]?phantom\s*(?=\{)")
_COLOURED = re.compile(
    r"\\fcolorbox\s*\{[^{}]*\}\s*\{[^{}]*\}|\\(?:textcolor|colorbox)\s*\{[^{}]*\}|\\color\s*(?:\{[^{}]*\}|\[[^\[\]]*\]\{[^{}]*\})"
)
_SWITCHES = re.compile(
    r"\\(?:left|right)\s*\.|\\(?:left|right|[bB]igg?[lrm]?|displaystyle|textstyle|scriptstyle|limits|nolimits|tiny|small|normalsize|large|Large"
    r"|LARGE|huge|Huge|bf|it|rm|tt|sf|em|bfseries|itshape|mathstrut|strut|allowbreak|nobreak|centering|hfill)(?![A-Za-z])"
    r"|\\[hv]space\*?\s*\{[^{}]*\}|\\label\s*\{[^{}]*\}|\\tag\*?\s*\{[^{}]*\}"
)
_SPACES = re.compile(
    r"(?<!\\)\\(?:[,;:> ]|(?:quad|qquad|thinspace|enspace|space|medspace|thickspace|nbsp)(?![A-Za-z]))|[~\s]"
)
_NEGATIVE_SPACE = re.compile(r"\\!|\\negthinspace(?![A-Za-z])")
_DELIMITERS = re.compile(r"\\[()]|(?<!\\)\\[\[\]]|\*\*|__|`")
_POWER = re.compile(r"(?<=[\w)}])\s?\*\*\s?(?=[\w({-])")
_ENVIRONMENT = re.compile(r"\\begin\s*\{")
_ALIGNED = re.compile(
    r"\\begin\s*\{(?P<kind>(?:aligned|alignedat|align|alignat|gathered|gather|split|equation|eqnarray|multline|displaymath|math)\*?)\}"
    r"(?:\s*\[[^\[\]]*\])?(?:\{\d+\})?(?P<inner>.*?)\\end\s*\{(?P=kind)\}",
    re.DOTALL,
)
_OPEN_BRACE = re.compile(r"\\left\s*\\\{\s*(?=\\begin\b)|\\right\s*\.\s*$")
_PLAIN_MATRIX = re.compile(r"\\(?P<kind>p?matrix|cases)\s*(?=\{)")
_COMMA_GROUP = re.compile(r"(?<=\d)(?:\{\s*,\s*\}|,\\!|\\text\s*\{\s*,\s*\})\s*(?:\\!)*(?=\d{3}(?!\d))")
_DEGREES = re.compile(
    r"\s*(?:\^\s*\{\s*\\circ\s*\}|\^\s*\\circ(?![A-Za-z])|\\degree(?![A-Za-z])|(?<=[\d})])\s*\\deg(?![A-Za-z]))\s*"
)
_PERCENT = re.compile(r"\s*(?:\{\s*\\?%\s*\}|\\?%|\\(?:text|mathrm)\s*\{\s*\\?%\s*\})")
_QUOTES = re.compile('["“”]|``')


def plain_appearance(text: str) -> str:
    r"""Remove what affects only the appearance of an answer.

    Returns:
        The text without fonts, sizes, colours, phantoms, delimiters and repeated spaces; the lines of an alignment as
        a chain of equations or a list; degrees as `\degree` and percent as `\%`; a unit in one `\text{}`.
    """
    text = _BRACED.sub(r"\1", _WRAPPED.sub(r"\g<starred>\g<inner>", text))
    text = rewrite(
        text, _PLAIN_MATRIX, 1, lambda found, inner: rf"\begin{{{found['kind']}}}{inner}\end{{{found['kind']}}}"
    )
    text = _ALIGNED.sub(_lines, _OPEN_BRACE.sub("", text))
    if "\\\\" in text and not _ENVIRONMENT.search(text):
        text = re.sub(r"^\s*\\\\\s*(?![A-Za-z])", "", re.sub(r"\\\\(?=[A-Za-z])", r"\\", text))
    text = next((part for part in reversed(_ARROW.split(text)) if part.strip()), text)
    text = _NUMBER_SETS.sub(
        lambda found: rf"\mathbb{{{found['group'] or found['one'] or 'R'}}}", _CONCLUDES.sub("", text)
    )
    text = plain_units(_SWITCHED.sub(r"\\mathrm{", text))
    text = rewrite(text, _INVISIBLE, 1, lambda *_: "")
    text = _COLOURED.sub("", _QUOTES.sub(" ", text))
    text = _SPACES.sub(" ", _COMMA_GROUP.sub("", text))
    text = _DELIMITERS.sub(" ", _POWER.sub("^", text))
    text = _PERCENT.sub(r"\\%", text)
    text = _DEGREES.sub(r"\\degree ", text)
    text = rewrite(text, _OPERATOR, 1, _operator)
    text = rewrite(text, _FONTS, 1, _without_font)
    text = _SWITCHES.sub(" ", text)
    text = rewrite(text, _TEXTS, 1, text_command)
    return " ".join(_SPACES.sub(" ", _NEGATIVE_SPACE.sub("", text)).split())


def _lines(found: re.Match[str]) -> str:
    """Join the lines of an alignment: one that begins with a relation continues the line before, others make a list."""
    lines = [line.replace("&", " ").strip(" \n\t,;.") for line in re.split(r"\\\\(?:\s*\[[^\[\]]*\])?", found["inner"])]
    lines = _solved([line for line in lines if line])
    text = ""
    for line in lines:
        continues = re.match(r"=|[<>]|\\(?:le|ge|leq|geq|approx|equiv|Rightarrow|implies)(?![A-Za-z])", line)
        text += line if not text else f" {line}" if continues else f", {line}"
    return text


def _solved(lines: list[str]) -> list[str]:
    """Return a system's lines with a name for each value, or a derivation's last equation and what continues it."""
    names = [re.match(r"\s*([A-Za-z])\s*=", line) for line in lines]
    starts = [
        place
        for place, line in enumerate(lines)
        if not re.match(r"\s*(?:=|[<>]|\\(?:le|ge|leq|geq|approx|equiv)\b)", line)
    ]
    found = [name[1] for name in names if name is not None]
    if len(starts) < 2 or not all("=" in line for line in lines) or (len(found) == len(starts) == len(set(found))):
        return lines
    return lines[starts[-1] :]


def _without_font(_: re.Match[str], inner: str) -> str:
    measure = re.sub(r"[{}]|\\cdot", "", inner).strip()
    if re.search(r"[ /^]", measure) and read_unit(measure) is not None:
        return rf"\text{{ {measure}}}"
    if "\\" not in inner and re.search(r"[A-Za-z]{2}", inner):
        return rf"\text{{{inner}}}" if not re.fullmatch(r"\s*[A-Z]{2,4}\s*", inner) else inner
    if SPACED_LETTER.fullmatch(inner):
        return text_command(None, inner)
    return f"{{{inner}}}" if re.fullmatch(r"\d{2,}", inner) else f" {inner.strip()} "


def _operator(_: re.Match[str], name: str) -> str:
    name = name.strip()
    return rf"\{name} " if name in FUNCTIONS else rf"\text{{{name}}}"
