"""Words in a sentence that deny, bound, suppose or ask for a number, or that continue the expression after it."""

from __future__ import annotations

import re

NO_ANSWER = re.compile(
    r"\banswer\s+(?:can(?:not|['\u2019]t)|(?:could|should|would|must|is|was)n['\u2019]t"
    r"|(?:can|could|should|would|must|may|will)\s+(?:not|never))\b(?:(?!\s+but\b|[,;]\s+it(?:['\u2019]s|\s+is)\b)[^.\n!?]|\.(?=\d))*",
    re.IGNORECASE,
)
"""Text from "the answer cannot be" to the sentence's end, or to what it says instead."""
NOT_THE_ANSWER = re.compile(
    r"\b(?:is|are|was)\s+(?:\w+ly\s+)?not\s+(?:the\s+|a\s+)?(?:right\s+|correct\s+)?(?:answer|result|solution)\b",
    re.IGNORECASE,
)
_UP_TO = r"(?:(?!\s+but\b)[^.,;\n()]|[.,](?=\d))*"
CONTRAST = re.compile(
    rf"(?:[,(\u2014\u2013]|\s-)\s*(?:and\s+|but\s+)?not\s+(?!only\b){_UP_TO}\d{_UP_TO}\)?"
    rf"|(?<=[\d$])\s+not\s+{_UP_TO}\d{_UP_TO}"
    rf"|\s(?:rather\s+than|instead\s+of|and\s+not|but\s+not)\s{_UP_TO}\d{_UP_TO}",
    re.IGNORECASE,
)
"""Text that an answer is contrasted with: `15, not 30`."""
SUPPOSED = re.compile(r"\bwould\s[^.\n]{0,100}\d[^.\n]{0,100}\b(?:if|when|unless|were|had)\b", re.IGNORECASE)
"""Words in a sentence that say what would hold under a condition."""
RULED_OUT = re.compile(
    r"[\s$*)]{0,8}(?:(?:is|are|was|were|seems|would\s+be|must\s+be)\s+(?:\w+ly\s+)?(?:not|wrong|incorrect|false)\b"
    r"|(?:isn|wasn)['\u2019]t\b|(?:can(?:not|['\u2019]t)|(?:wo|would|did)n['\u2019]t|(?:will|would|did)\s+not)"
    r"\s+(?:be|work|hold|satisfy|occur|fit)\b"
    r"|(?:[,:]?\s*(?:it|this|that|which)\s+)?(?:(?:also|clearly|then)\s+)?"
    r"(?:fails\b|never\b|does(?:n['\u2019]t|\s+not)\b|contradicts\b|violates\b|exceeds\s+the\b"
    r"|(?:leads\s+to|results\s+in|gives|yields|is)\s+a\s+contradiction\b|(?:is|was|gets|(?:must|can|has\s+to|should)\s+be)\s+(?:\w+ly\s+)?"
    r"(?:impossible|invalid|excluded|ruled\s+out|discarded|rejected|eliminated|extraneous|inadmissible|absurd|no|too|out\s+of)\b))",
    re.IGNORECASE,
)
"""Words after a number that deny it."""
_PART = re.compile(
    r"[\s$*)]{0,8}(?:\?|divides\b|mod(?:ulo)?\b|of\s+\$?\d"
    r"|,?\s*(?:only\s+)?(?:if|unless|provided|assuming|given\s+that|whenever|in\s+case|as\s+long\s+as)\b|only\s+(?:when|for)\b"
    r"|squared\b|cubed\b|factorial\b|divided\s+by\b|or\s+(?:more|less|fewer|greater)\b)",
    re.IGNORECASE,
)
"""A question, a condition, or words after a number that make it part of something."""
TAKEN_BACK = re.compile(
    r"(?:(?:n['\u2019]t|\b(?:not|never|nobody|no\s+one))\s+(?:\w+\s+){0,2}?"
    r"(?:think|thinks|believe|say|claim|agree|mean|imply|sure|certain|clear|true|correct|right|case|possible|likely)\b"
    r"|\b(?:(?<!no\s)doubt|false|wrong|unlikely|whether|suppose|assume|if|thought)\b)"
    r"(?:(?!\b(?:and|so|but|hence|therefore|thus|then|because|since)\b)[^.\n;:,])*$",
    re.IGNORECASE,
)
"""Words before "answer is" in its sentence that take it back."""
_DENIES = re.compile(
    r"\b(?:not|cannot|never|neither|at least|at most|(?:less|more|fewer|greater|smaller|larger|other) than"
    r"|negative|minus|twice|double|except|(?:all|(?:any|every)(?:thing|one)) but|between|from|up to|over|under|above"
    r"|below|beyond|exceeds?|nearly|almost|close to|unless|wrong to|incorrect to|rul(?:e|es|ed|ing) out"
    r"|(?:reject|discard)(?:s|ed|ing)?|(?:exclud|eliminat)(?:e|es|ed|ing)|mod|modulo|divides"
    r"|(?:divided|dividing|divisible) by|(?:co-?|relatively )prime (?:to|with)"
    r"|(?:thought|believed|expected|supposed|assumed|guessed) (?:to be|it was)"
    r"|(?:half|third|quarter|multiple|divisor|factor|reciprocal|logarithm|log|cube|square|root|negative|opposite|inverse"
    r"|power|digit|prime|factorial|percent)s?\s+of)\b|n['\u2019]t\b",
    re.IGNORECASE,
)
_NEAR = re.compile(rf"(?:{_DENIES.pattern}|(?<!only )\bif\b(?!\s+and))(?:\s+[A-Za-z]+){{0,3}}[\s$*(]*$", re.IGNORECASE)
_BUT = re.compile(r"(?<!thing )(?<!one )(?<!\ball )\bbut\b", re.IGNORECASE)
"""The end of a denial: the number after it is the one that counts."""
GOES_ON = re.compile(
    r"[\s;,(]*(?:(?:or|maybe|possibly|perhaps|plus|minus|times|squared|cubed|hundred|thousand|million|billion|dozen"
    r"|choose|factorial|divided\s+by|multiplied\s+by|to\s+the\s+power|(?:less|more)\s+than)\b"
    r"|to\s+\$?\d|and\b(?=[^.\n]*\d)|(?:if|when)\b(?=[^.\n]*\b(?:otherwise|else|and)\b))|\s*/\s*\$"
    r"|;\s*\$?-?\d|(?:st|nd|rd|th)\s+\w",
    re.IGNORECASE,
)


def is_denied(before: str, *, near: bool = False) -> bool:
    """Whether words before a number deny it, bound it, or make it part of something.

    Args:
        before: the text before the number in its sentence; only the part after the last "but" counts.
        near: count only words at most three before the number.
    """
    before = _BUT.split(before)[-1]
    return (_NEAR if near else _DENIES).search(before) is not None


def is_asked(text: str, place: int = 0) -> bool:
    """Whether the text after a number denies it, asks for it, or makes it part of something."""
    return RULED_OUT.match(text, place) is not None or _PART.match(text, place) is not None
