r"""Where a text states the letter of a choice."""

from __future__ import annotations

import re
import unicodedata

from r2vpo.rewards.choice_patterns import LEADS, patterns_of

READ_CHARACTERS = 1000

_DENIED = re.compile(
    r"(?:\b(?:not|never|cannot|hardly)|n['\u2019]t)\s+(?:really\s+)?(?:think|believe|say|agree|see|sure|certain|clear)\s+"
    r"(?:that\s+|if\s+|whether\s+|why\s+|how\s+)?(?:the\s+|my\s+)?(?:correct\s+|right\s+)?$"
    r"|\b(?:doubt|unlikely)\s+(?:that\s+)?(?:the\s+)?$|\b(?:wrong|incorrect|false|bad|worst)\s+$",
    re.IGNORECASE,
)
"""What before a statement takes it back."""
_SHORT_LEAD = re.compile(r"\AA:\s*(?=[A-Z]\W*(?:\n|\Z))")


def stated_letter(text: str, letters: str) -> str | None:
    r"""Return the letter that a short text is or begins with, such as `(C)`, `C. Paris`, `\text{C}: 5`, or None.

    Args:
        text: what stands in a box, in a tag, or as the right answer.
        letters: the letters there are, in capitals.
    """
    found = patterns_of(letters).whole.match(_plain(text).strip())
    return _letter(found) if found else None


def chosen_letter(text: str, letters: str) -> str | None:
    """Return the letter that a text states as its answer, or None.

    Args:
        text: what a model wrote, without its thoughts.
        letters: the letters there are, in capitals.
    """
    patterns = patterns_of(letters)
    end = _plain(text[-READ_CHARACTERS:])
    if found := _last_answer(patterns.answer, end):
        return _letter(found)
    for pattern in (patterns.other, patterns.concludes):
        if all_found := list(pattern.finditer(end)):
            return _letter(all_found[-1])
    # "A:" before a letter alone stands for the word, as in questions and answers.
    start = _SHORT_LEAD.sub("", _plain(text[:READ_CHARACTERS]).strip(), count=1)
    if (first := patterns.begins.match(start)) and not start.partition("\n")[0].rstrip().endswith("?"):
        return _letter(first)
    alone = patterns.alone.fullmatch(end.strip().rpartition("\n")[2].strip())
    return _letter(alone) if alone and alone["letter"].isupper() else None


def _last_answer(pattern: re.Pattern[str], text: str) -> re.Match[str] | None:
    """The last match of a pattern that begins with a lead: it is tried where a lead stands, since that is fast."""
    folded = text.lower() if len(text.lower()) == len(text) else text
    places = [found.start() for lead in LEADS if lead in folded for found in re.finditer(re.escape(lead), folded)]
    for place in sorted(places, reverse=True):
        if (found := pattern.match(text, place)) and not _DENIED.search(text[max(0, place - 60) : place]):
            return found
    return None


def _plain(text: str) -> str:
    """A text with the letters of ASCII in place of wide ones and of those in a circle."""
    return text if text.isascii() else unicodedata.normalize("NFKC", text)


def _letter(found: re.Match[str]) -> str | None:
    return None if found["more"] else found["letter"].upper()
