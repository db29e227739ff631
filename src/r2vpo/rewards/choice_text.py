r"""Find where a text states the letter of a choice.

A text is first simplified: layout marks are removed, and each letter that may be a choice becomes a separate character.
It is then cut into sentences, and each such letter is examined on its own: the text before and after it shows whether
it is chosen, and whether that is denied, asked or supposed; its neighbours show whether it is one of two.
"""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise
from typing import NamedTuple

from r2vpo.rewards import choice_patterns as patterns
from r2vpo.rewards import denials
from r2vpo.rewards.choice_patterns import LETTER

READ_CHARACTERS = 1000

_OFFSET = 0xE000
_TAG = re.compile(r"<\|[^<>|\n]{1,40}\|>|</?(?:[biups]|[a-z_]{2,20})\s?/?>|\[/?INST\]")
_ARROW = re.compile(r"[=-]{1,2}>|[\u2192\u21d2]|\\(?:(?:long)?(?:Right|right)arrow|implies|to)(?![A-Za-z])")
_COMMAND = re.compile(
    r"\\(?:text|math|bf|rm|it|bm|boldsymbol|operatorname|left|right|q?quad|large|Large|huge|displaystyle)[a-z]*\s*"
    r"|\\[\\,;:!\s]|[~\ue000-\ue0ff]|\\(?=[{}$%&])"
)
_WORD = (
    r"(?:because|since|as|is|for|due|given|which|with|from|by|so|but|not|and|or|was|are|isn't|maybe|possibly|perhaps"
    r"|also|nor|instead|rather|over)"
)
_SINGLE = re.compile(
    r"(?<![A-Za-z0-9\\])(?<![A-Za-z0-9]['_])(?<![^A-Za-z][A-Za-z]\()(?<![A-Z]\.)"
    r"(?P<open>(?:[(\[{\"'`*_$<] ?){0,8})(?P<letter>[A-Za-z])"
    r"(?![A-Za-z0-9\u00c0-\u024f]|'[A-Za-z]|-[a-z]|\([A-Za-z0-9]|\+\+|#|\.[A-Z](?![A-Za-z])|_[A-Za-z0-9{])"
    r"(?P<close>(?: ?[)\]}$>]|[\"'`*_]){0,8})"
)
_ARTICLE = re.compile(rf"[ *_\"'`]+(?!{_WORD}\b)[a-z]|[ *_]+{_WORD}['\u2019]")
_AT_END = re.compile(r" ?[.!]?\s*(?:\n|\Z)|\.\s+[A-Z]")
_MARK = re.compile(r"[*_`$#{}<>\"|\\]|\[|\]|(?<![A-Za-z])'|'(?![A-Za-z])")
_GOES_ON = re.compile(
    r"((?:\b(?:is|be|are|answer|option|choice|choose|pick|select|with)|:) ?)\n\s*|(?<=[a-z,])( ?)\n(?=[a-z])",
    re.IGNORECASE,
)
_SENTENCES = re.compile(r"(?<=[.!\u3002])\s+|\n+|(?<=[?\u3002])")
_SHORT_LEAD = re.compile(rf"\A\s*\ue041: ?(?={LETTER}\)?\W*(?:\n|\Z))")
_OTHER_BOX = re.compile(
    rf"\\boxed\s*\{{(?P<box>(?:[^{{}}]|\{{[^{{}}]*\}}){{1,80}})\}}[\s$]*(?:[,;/&(]\s*|\b{denials.AND}\b[\s,]*)+[\s$]*\Z"
    r"|\b(?:(?:is|are)(?:n't| not)|not|never|cannot be|can't be)[\s$]*\Z",
    re.IGNORECASE,
)
_BESIDE = re.compile(rf"\A\)?(?:[ ,/&]*(?:\b(?:and|or)\b)? ?{LETTER}\)?)*")
_FOUND = re.compile(rf"({LETTER})\)?")


class _Letter(NamedTuple):
    """A letter that a sentence chooses.

    Attributes:
        letter: the letter as a capital.
        rank: 0 where it is called the answer, 1 where it is chosen or called right, 2 where it ends a conclusion.
        denied: whether the statement is denied.
        joined: whether another letter is stated next to it.
    """

    letter: str
    rank: int
    denied: bool
    joined: bool


def chosen_letter(text: str, letters: str, short: bool = False) -> str | None:
    r"""Return the letter that a text states as its answer, or None.

    Args:
        text: what a model wrote, without its thoughts.
        letters: the available letters, in capitals.
        short: whether the text is the content of a box or a tag, or the right answer; it may then have any text after
            the letter that it begins with, such as `C water`.
    """
    end = marked(text[-READ_CHARACTERS:], letters)
    said = [one for sentence in _answered(end) for one in _stated(sentence)]
    first = _first(marked(text[:READ_CHARACTERS], letters), short)
    if short and first and not any(one.rank == 0 for one in said):
        return first
    for rank in range(3):
        places = [place for place, one in enumerate(said) if one.rank == rank and not one.denied]
        if places:
            last = said[places[-1]]
            back = any(later.denied and later.letter == last.letter for later in said[places[-1] :])
            return None if last.joined or back else last.letter
    return first or _last_line(end)


def boxed_letter(text: str, box: str, letters: str) -> str | None:
    r"""Return the letter of a text's last box; None if it is denied, or another box is joined to it with "or"."""
    letter = chosen_letter(box, letters, short=True)
    place = max(0, text.rfind("\\boxed"))
    beside = _OTHER_BOX.search(text[max(0, place - 200) : place])
    if beside and (beside["box"] is None or chosen_letter(beside["box"], letters, short=True) != letter):
        return None
    return letter


def marked(text: str, letters: str) -> str:
    """Remove the layout marks of a text and make each letter that may be a choice a separate character.

    A capital may be a choice if no letter, digit or apostrophe follows it; A and I also must not precede a word, since
    they are then words themselves. A small letter may be a choice in brackets or quotes, and at the end of a sentence.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", text)
        text = re.sub("[\u2018\u2019]", "'", re.sub("[\u201c\u201d]", '"', re.sub("[\u2013-\u2015]", " - ", text)))
    text = _ARROW.sub(", so ", _TAG.sub(" ", text))
    text = _COMMAND.sub(" ", text)
    text = re.sub(r"\\[bf]box(?:ed)?|\\boxed", " answer: ", re.sub(r"\\[()\[\]]", "$", text))
    text = re.sub(r"\.{2,}", " ", text)
    text = re.sub(r"[^\S\n]+", " ", text)

    def mark(found: re.Match[str]) -> str:
        letter, before, after = found["letter"], found["open"], found["close"]
        brackets = bool(set("([)]") & set(before + after))
        if letter.upper() not in letters:
            return found.group()
        if letter.isupper():
            a_word = letter in "AI" and not brackets and _ARTICLE.match(text, found.end("letter")) is not None
        else:
            a_word = not ((before and after) or after.startswith(")") or _AT_END.match(text, found.end()))
        if a_word:
            return found.group()
        return f" {chr(ord(letter) + _OFFSET)}{')' if brackets else ''}{' ' if after.endswith(' ') else ''}"

    text = _MARK.sub(" ", _SINGLE.sub(mark, text))
    return _GOES_ON.sub(r"\1 ", re.sub(r"[^\S\n]+", " ", text))


def _answered(text: str) -> list[str]:
    """Return the sentences of a text that are not questions and that the next sentence does not take back."""
    sentences = [sentence.strip() for sentence in _SENTENCES.split(text) if sentence.strip()]
    return [
        sentence
        for sentence, after in zip(sentences, [*sentences[1:], ""], strict=False)
        if not sentence.endswith("?") and not patterns.TAKEN_BACK.match(after)
    ]


def _stated(sentence: str) -> list[_Letter]:
    """Return the letters that a sentence states, in order."""
    sentence = patterns.NO_DENIALS.sub(" ", sentence)
    found = list(_FOUND.finditer(sentence))
    joined = [_are_joined(sentence, *pair) for pair in pairwise(found)]
    beside = [left or right for left, right in zip([False, *joined], [*joined, False], strict=True)]
    stated = (_statement(sentence, one, is_joined) for one, is_joined in zip(found, beside, strict=False))
    return [one for one in stated if one is not None]


def _statement(sentence: str, found: re.Match[str], joined: bool) -> _Letter | None:
    before, after = sentence[max(0, found.start() - 120) : found.start()], sentence[found.end() :][:60]
    right = patterns.RIGHT.match(after)
    if lead := patterns.ANSWER.search(before):
        rank = 0
    elif lead := patterns.CHOICE.search(before):
        rank = 1
    elif right:
        rank, lead = 1, patterns.NOUN.search(before)
    elif patterns.ENDS.match(after) and (lead := patterns.CONCLUDES.search(before)):
        rank = 2
    else:
        return None
    before = before[: lead.start()] if lead else before
    reach = denials.reach(before)
    if patterns.SUPPOSES.search(reach) or patterns.UNLESS.match(after):
        return None
    about = right is None and patterns.VERB.match(after) is not None
    hedged = lead is not None and patterns.HEDGES.search(lead.group()) is not None
    denied = denials.EXCEPT.search(before) is not None or patterns.DENIES.search(reach) is not None
    return _Letter(_capital(found), rank, about or hedged or denied, joined)


def _are_joined(sentence: str, one: re.Match[str], two: re.Match[str]) -> bool:
    """Whether two consecutive letters are stated together, as in "B or maybe C"."""
    gap = sentence[one.end() : two.start()]
    if _capital(one) == _capital(two) or not patterns.JOINED.fullmatch(gap):
        return False
    words = re.search(r"[a-z]", gap, re.IGNORECASE) is not None
    if not gap.strip(" ("):
        return "(" not in gap and one.group().endswith(")") == two.group().endswith(")")
    after = sentence[two.end() :][:60]
    rest = _BESIDE.sub("", after)
    own = patterns.OWN.match(after) or (rest != after and patterns.VERB.match(rest))
    return not own or (words and patterns.RIGHT.match(rest) is not None)


def _first(text: str, short: bool) -> str | None:
    """Return the letter that a text begins with, if it is an answer and not a word."""
    # "A:" before nothing but a letter means "answer", as in lists of questions and answers.
    text = _SHORT_LEAD.sub("", text).strip()
    sentence = next(iter(_SENTENCES.split(text)), "")
    begins = patterns.BEGINS.match(sentence)
    found = _FOUND.match(sentence, begins.end()) if begins else None
    if found is None or text.partition("\n")[0].rstrip().endswith("?"):
        return None
    after = sentence[found.end(1) :]
    others = _FOUND.search(sentence, found.end())
    if patterns.VERB.match(_BESIDE.sub("", after)) or (others and _are_joined(sentence, found, others)):
        return None
    small = ord(found[1]) - _OFFSET > ord("Z")
    if small:
        return _capital(found) if after.startswith(")") or patterns.ENDS.match(after) else None
    capital = patterns.AFTER_CAPITAL.match(after) and _capital(found) not in "AI"
    return _capital(found) if capital or (short and after[:1] == " ") or patterns.AFTER_FIRST.match(after) else None


def _last_line(text: str) -> str | None:
    """Return the letter that the last line of a text consists of: a capital, or a small one in brackets."""
    line = text.strip().rpartition("\n")[2].strip()
    begins = patterns.BEGINS.match(line)
    found = _FOUND.match(line, begins.end()) if begins else None
    if found is None or not patterns.ENDS.match(line[found.end() :]):
        return None
    return _capital(found) if found[1] <= "\ue05a" or found.group().endswith(")") else None


def _capital(found: re.Match[str]) -> str:
    return chr(ord(found[1]) - _OFFSET).upper()
