r"""Patterns of statements that choose a letter.

A statement is a lead ("answer", "option", "I choose"), a link ("is", ":", "would be"), marks around the letter
(brackets, quotes, emphasis, `\text{}`), and the letter with nothing after it that makes a word or a second choice.
"""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

_WRAPPER = r"\\(?:text|textbf|textit|textrm|mathrm|mathbf|mathsf|mathit|boldsymbol|bm|bf|rm|mathbb|operatorname)\s*\{?"
_OPEN = rf"(?:{_WRAPPER}|[\s*_`\"'\u2018\u201c$(\[{{#<>:=-]|\\[(\[])"
_CLOSE = r"[\s*_`\"'\u2019\u201d$)\]}>~\\]"
# The text of an option may follow the letter: after a mark, in a bracket, or as the reason.
_WORDS = "because|since|as|is|for|due|given|which|with|from|by|so|but|not|would|must|should|seems|and|or"
LEADS = (
    *(
        "answer",
        "ans",
        "respuesta",
        "r\u00e9ponse",
        "antwort",
        "antwoord",
        "risposta",
        "resposta",
        "odpowied\u017a",
        "svar",
    ),
    *(
        "cevap",
        "jawaban",
        "\u0111\u00e1p \u00e1n",
        "\u043e\u0442\u0432\u0435\u0442",
        "\u7b54\u6848",
        "\u9009\u9879",
        "\u9009\u62e9",
    ),
    *(
        "\u9009",
        "\u7b54\u3048",
        "\uc815\ub2f5",
        "\ub2f5",
        "\u0627\u0644\u0625\u062c\u0627\u0628\u0629",
        "\u0909\u0924\u094d\u0924\u0930",
    ),
    *(r"\boxed", r"\fbox"),
)
"""What comes before an answer, in small letters: the word in several languages, and a box without braces."""
_LINK = (
    r"(?:\s+(?:choice|option|letter))?"
    r"(?:\s+(?:to|for|of)\s+(?:the\s+|this\s+)?(?:question|problem)(?:\s+\d+)?)?"
    r"(?:\s*(?:\bis\b|\bare\b|\bwas\b|\b(?:would|should|must|will|has\s+to|(?:would\s+)?have\s+to|can\s+only)\s+be\b"
    r"|\b(?:seems?|appears?)(?:\s+to\s+be)?\b|\bes\b|\best\b|\bist\b|\u00e8\b|\u00e9\b|\u662f|\u4e3a|\u306f|\uc740))?"
)
_NOUN = r"(?:(?:the\s+)?(?:option|choice|letter|answer)\b|\u9009\u9879)?"


class Patterns(NamedTuple):
    """Each has the groups `letter`, and `more` for a second letter beside it.

    Attributes:
        whole: a text that is a letter or begins with one.
        alone: a text that is a letter.
        answer: a statement that begins with one of `LEADS`.
        other: a statement that calls a letter right, or chooses it.
        concludes: a letter at the end of a line, after "so" or "it is".
        begins: a letter at the beginning of a completion.
    """

    whole: re.Pattern[str]
    alone: re.Pattern[str]
    answer: re.Pattern[str]
    other: re.Pattern[str]
    concludes: re.Pattern[str]
    begins: re.Pattern[str]


@cache
def patterns_of(letters: str) -> Patterns:
    """Build the patterns for a set of letters.

    Args:
        letters: the letters there are, in capitals.
    """
    letter, capital, more = _letter(letters)
    small, marks = letters.lower(), rf"{_CLOSE}{{0,4}}"
    leads = "|".join(f"{re.escape(lead)}s?" for lead in LEADS)
    leads = rf"(?:\b|(?<=[^\x00-\x7f])|(?=\\))(?i:{leads})"
    not_but = rf"(?:not\s+{_OPEN}{{0,4}}[{letters}]{_CLOSE}{{0,4}},?\s*but\s+(?:rather\s+)?{_OPEN}{{0,4}})?"
    lead = rf"{leads}{_CLOSE}{{0,3}}(?i:{_LINK}){_OPEN}{{0,8}}(?i:{_NOUN}){_OPEN}{{0,6}}{not_but}"
    not_asked = r"(?!\s*\)?\s*\?|\s+if\b)"
    right = r"(?:correct|right|best|true|the\s+answer|the\s+(?:only\s+)?(?:correct|right|best)\b)"
    is_right = rf"{_OPEN}{{0,4}}[{letters}]{_CLOSE}{{0,4}}(?i:is|must\s+be|seems)\s+(?i:{right})(?!\s*\?)"
    other = "|".join(
        (
            rf"(?i:\b(?:correct|right|best)\s+(?:option|choice|one|letter|statement)){_CLOSE}{{0,3}}(?i:{_LINK}){_OPEN}{{0,8}}",
            rf"(?i:\b(?:choose|select|pick|go\s+with|going\s+with|opt\s+for|choosing)\s+){_OPEN}{{0,4}}(?i:{_NOUN}){_OPEN}{{0,4}}",
            rf"(?<![A-Za-z0-9'])(?={is_right}){_OPEN}{{0,4}}",
        )
    )
    ends = rf"(?=[{letters}]{_CLOSE}{{0,4}}[.!]?\s*(?:\n|\Z))"
    it_is = (
        r"(?:it(?:'s|\s+is|\s+must\s+be)|(?:must|should)\s+be|(?:which|that|this)\s+(?:is|matches|corresponds\s+to))"
    )
    concludes = rf"\b(?i:{it_is}|thus|hence|therefore|so),?\s+{_OPEN}{{0,4}}(?i:{_NOUN}){_OPEN}{{0,4}}{ends}"
    start = rf"{_OPEN}{{0,6}}(?i:{_NOUN}){_OPEN}{{0,6}}"
    after = r"(?:$|[.,;:)\]}\-\u2013\u2014\u3001\u3002~\\*$\"'`]|\s)"
    denied = rf"{marks}\s+is\s+(?:not|wrong|incorrect|false)\b"
    text_after = rf"(?!{denied})(?:{marks}$|{marks}[.):\-\u2013\u2014\u3001\u3002]|{_CLOSE}+(?:{_WORDS})\b|[)\]}}])"
    word_after = r"(?<![AaIi])(?=\s+[A-Z0-9\\$])(?<=[A-Z])"
    return Patterns(
        whole=re.compile(rf"{start}{letter}(?={after})"),
        alone=re.compile(rf"{start}{letter}(?:{_CLOSE}|[.:]){{0,6}}"),
        answer=re.compile(lead + letter + not_asked),
        other=re.compile(rf"(?:{other}){letter}{not_asked}"),
        concludes=re.compile(concludes + letter),
        begins=re.compile(
            rf"{start}(?P<letter>(?:{capital})|[{small}](?={marks}\Z|\))){more}(?:{text_after}|{word_after})"
        ),
    )


def _letter(letters: str) -> tuple[str, str, str]:
    """Patterns of a letter with a second one after it, if there is one; of a capital; and of the second one."""
    small = letters.lower()
    # A capital counts where no letter, digit or apostrophe follows; A and I not before a word, which makes them words
    # too.
    capital = (
        rf"(?:[{letters}](?![A-Za-z0-9_]|['\u2019][A-Za-z]))"
        rf"(?<!\b[AI](?=\s+(?!(?:{_WORDS})\b)[a-z]))"
    )
    # A small letter counts in brackets or quotes, and at the end of a line.
    lower = rf"(?:(?<=[(\[{{\"'`*$])[{small}](?=[)\]}}\"'`*$])|(?<![A-Za-z0-9])[{small}](?=\)|[.\]]?\s*(?:\n|$)))"
    marks = rf"{_CLOSE}{{0,4}}"
    joined = r"(?:\s*(?:,|/|&|\+)\s*(?:and\s+|or\s+)?|\s+(?:and|or)\s+)(?:both\s+)?"
    of_its_own = r"(?!\s+(?:is|was|isn|would|can|does|has)\b)"
    more = rf"(?P<more>{marks}{joined}{_OPEN}{{0,4}}[{letters}](?![A-Za-z0-9_'\u2019]){of_its_own})?"
    letter = rf"(?P<letter>{capital}|{lower}){more}"
    return letter, capital, more
