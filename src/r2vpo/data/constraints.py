"""The 25 checkable constraints of IFEval: their names, their arguments, and whether a text keeps them.

Written from the definitions of Zhou et al., arXiv 2311.07911, table 1. The time of a check is linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from r2vpo.core.nearest import did_you_mean

RELATIONS = ("less than", "at least")
"""How numbers are compared; `less than` is strict."""

LANGUAGES = frozenset(
    (
        "af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl "
        "no pa pl pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw"
    ).split()
)
"""Language codes that `language` may have: those that langdetect distinguishes."""


_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]*]*(?=\s|$)")
_ABBREVIATIONS = frozenset("mr mrs ms dr prof st jr sr vs e.g i.e etc no vol fig inc ltd co".split())
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")


class Argument(NamedTuple):
    """An argument of a constraint: a test of its value, and the expected kind in words."""

    fits: Callable[[Any], bool]
    words: str


class Constraint(NamedTuple):
    """A constraint: whether a text keeps it, given the values in `kwargs`, and the keys there, as in google/IFEval."""

    check: Callable[..., bool]
    arguments: dict[str, Argument]


def clean_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Remove keys of other constraints, which tables fill with null, from a constraint's arguments; 3.0 becomes 3."""
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in given.items()
        if value is not None
    }


def problem_with(names: Sequence[Any], arguments: Sequence[Mapping[str, Any]]) -> str | None:
    """Say what is wrong with constraints and their cleaned arguments, and how to fix it, or return None."""
    if len(names) != len(arguments):
        return f"'instruction_id_list' has {len(names)} names, 'kwargs' has {len(arguments)} entries: give one per name"
    for name, given in zip(names, arguments, strict=True):
        if name not in CONSTRAINTS:
            hint = did_you_mean(str(name), CONSTRAINTS, ": correct it")
            return f"'instruction_id_list' has {name!r}, which is unknown{hint}"
        wanted = CONSTRAINTS[name].arguments
        for key, kind in wanted.items():
            if key not in given:
                return f"'kwargs' of {name} has no {key!r}: write {kind.words}"
            if not kind.fits(given[key]):
                return f"'kwargs' of {name} has {key} = {given[key]!r}: write {kind.words}"
        if more := sorted(given.keys() - wanted.keys()):
            return f"'kwargs' of {name} has {more[0]!r}, which it does not take: remove it, or put the entries in order"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


_TEXT = Argument(_is_text, "a text that is not empty")
_TEXTS = Argument(
    lambda value: isinstance(value, list) and bool(value) and all(map(_is_text, value)), "a list of texts"
)
_LETTER = Argument(lambda value: isinstance(value, str) and len(value) == 1, "one character")
_NUMBER = Argument(
    lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= 0, "a whole number from 0"
)
_LANGUAGE = Argument(
    lambda value: isinstance(value, str) and value in LANGUAGES, f"one of {', '.join(sorted(LANGUAGES))}"
)
_RELATION = Argument(lambda value: value in RELATIONS, " or ".join(map(repr, RELATIONS)))


def _holds(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _has_word(text: str, word: str) -> bool:
    """Whether a word is in a text, not as part of a longer one; a sign at its edge (`C++`, `#1`) has no limit."""
    start = r"(?<!\w)" if re.match(r"\w", word) else ""
    end = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return re.search(start + re.escape(word) + end, text, re.IGNORECASE) is not None


def _nth_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _postscript(text: str, postscript_marker: str) -> bool:
    # There may be a space between the letters: P. S.
    letters = re.findall(r"\S", postscript_marker.lower())
    return re.search(r"\s?".join(map(re.escape, letters)), text.lower()) is not None


def _bullets(text: str) -> int:
    return sum(re.match(r"-|\*[^*]", line.strip()) is not None for line in text.splitlines())


def _highlights(text: str) -> int:
    parts = re.findall(r"\*[^\n*]*\*", text) + re.findall(r"\*\*[^\n*]*\*\*", text)
    return sum(bool(part.strip("*").strip()) for part in parts)


def _is_json(text: str) -> bool:
    text = re.sub(r"^```(?:json)?", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _has_title(text: str) -> bool:
    for line in text.splitlines():
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].strip("<> \t"):
            return True
    return False


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    return _divided(text, "******") == 2 and len({part for part in parts if part}) == 2


def detected(text: str) -> str | None:
    """Detect the language of a text's first 10,000 characters, with a fixed seed; None if langdetect cannot tell."""
    from langdetect import DetectorFactory, LangDetectException, detect

    DetectorFactory.seed = 0
    try:
        return str(detect(text))
    except LangDetectException:
        return None


def count_sentences(text: str) -> int:
    """Count the sentences of a text.

    A sentence ends with `.`, `!` or `?`, including closing quotes and brackets, before white space or the text's end. A
    full stop does not end one after a common abbreviation, a single capital or a number that begins a line, nor before
    a small letter. Any text after the last end is also a sentence.
    """
    count = start = 0
    for found in _SENTENCE_END.finditer(text):
        if _ends_sentence(text, found):
            count += bool(_WORD.search(text, start, found.start()))
            start = found.end()
    return count + bool(_WORD.search(text, start))


def _ends_sentence(text: str, found: re.Match[str]) -> bool:
    if found.group() != ".":
        return True
    # The word before the stop, and the next non-space character, both within a few characters.
    line = text[max(0, found.start() - 40) : found.start()].rpartition("\n")[2]
    word = (line.split() or [""])[-1].strip("('\"*")
    after = text[found.end() : found.end() + 40].lstrip()[:1]
    if word.lower() in _ABBREVIATIONS or (re.fullmatch(r"[A-Z](?:\.[A-Z])*", word) and word != "I"):
        return after == ""
    return not (word.isdigit() and line.strip() == word) and not after.islower()


def _divided(text: str, mark: str) -> int | None:
    """Count the parts between marks, ignoring empty ones at both ends; None if one in the middle is empty."""
    parts = [part.strip() for part in text.split(mark)]
    parts = parts[not parts[0] :] if len(parts) > 1 else parts
    parts = parts[:-1] if len(parts) > 1 and not parts[-1] else parts
    return len(parts) if all(parts) else None


CONSTRAINTS: dict[str, Constraint] = {
    "keywords:existence": Constraint(
        lambda text, keywords: all(word.lower() in text.lower() for word in keywords), {"keywords": _TEXTS}
    ),
    "keywords:frequency": Constraint(
        lambda text, keyword, frequency, relation: _holds(text.lower().count(keyword.lower()), relation, frequency),
        {"keyword": _TEXT, "frequency": _NUMBER, "relation": _RELATION},
    ),
    "keywords:forbidden_words": Constraint(
        lambda text, forbidden_words: not any(_has_word(text, word) for word in forbidden_words),
        {"forbidden_words": _TEXTS},
    ),
    "keywords:letter_frequency": Constraint(
        lambda text, letter, let_frequency, let_relation: _holds(
            text.lower().count(letter.lower()), let_relation, let_frequency
        ),
        {"letter": _LETTER, "let_frequency": _NUMBER, "let_relation": _RELATION},
    ),
    "language:response_language": Constraint(
        lambda text, language: detected(text) in (language, None), {"language": _LANGUAGE}
    ),
    "length_constraints:number_sentences": Constraint(
        lambda text, num_sentences, relation: _holds(count_sentences(text), relation, num_sentences),
        {"num_sentences": _NUMBER, "relation": _RELATION},
    ),
    "length_constraints:number_paragraphs": Constraint(
        lambda text, num_paragraphs: _divided(text, "***") == num_paragraphs, {"num_paragraphs": _NUMBER}
    ),
    "length_constraints:number_words": Constraint(
        lambda text, num_words, relation: _holds(len(_WORD.findall(text)), relation, num_words),
        {"num_words": _NUMBER, "relation": _RELATION},
    ),
    "length_constraints:nth_paragraph_first_word": Constraint(
        _nth_paragraph, {"num_paragraphs": _NUMBER, "nth_paragraph": _NUMBER, "first_word": _TEXT}
    ),
    "detectable_content:number_placeholders": Constraint(
        lambda text, num_placeholders: len(re.findall(r"\[[^\[\]\n]*\]", text)) >= num_placeholders,
        {"num_placeholders": _NUMBER},
    ),
    "detectable_content:postscript": Constraint(_postscript, {"postscript_marker": _TEXT}),
    "detectable_format:number_bullet_lists": Constraint(
        lambda text, num_bullets: _bullets(text) == num_bullets, {"num_bullets": _NUMBER}
    ),
    "detectable_format:constrained_response": Constraint(
        lambda text: any(f"My answer is {answer}." in text for answer in ("yes", "no", "maybe")), {}
    ),
    "detectable_format:number_highlighted_sections": Constraint(
        lambda text, num_highlights: _highlights(text) >= num_highlights, {"num_highlights": _NUMBER}
    ),
    "detectable_format:multiple_sections": Constraint(
        lambda text, section_spliter, num_sections: (
            len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections
        ),
        {"section_spliter": _TEXT, "num_sections": _NUMBER},
    ),
    "detectable_format:json_format": Constraint(_is_json, {}),
    "detectable_format:title": Constraint(_has_title, {}),
    "combination:two_responses": Constraint(_two_responses, {}),
    "combination:repeat_prompt": Constraint(
        lambda text, prompt_to_repeat: text.strip().lower().startswith(prompt_to_repeat.strip().lower()),
        {"prompt_to_repeat": _TEXT},
    ),
    "startend:end_checker": Constraint(
        lambda text, end_phrase: text.strip().strip('"').lower().endswith(end_phrase.strip().lower()),
        {"end_phrase": _TEXT},
    ),
    "startend:quotation": Constraint(lambda text: re.fullmatch(r'\s*".*"\s*', text, re.DOTALL) is not None, {}),
    "change_case:capital_word_frequency": Constraint(
        lambda text, capital_frequency, capital_relation: _holds(
            sum(word.isupper() for word in _TOKEN.findall(text)), capital_relation, capital_frequency
        ),
        {"capital_frequency": _NUMBER, "capital_relation": _RELATION},
    ),
    "change_case:english_capital": Constraint(lambda text: text.isupper() and detected(text) in ("en", None), {}),
    "change_case:english_lowercase": Constraint(lambda text: text.islower() and detected(text) in ("en", None), {}),
    "punctuation:no_comma": Constraint(lambda text: "," not in text, {}),
}
"""The constraints by their name in `instruction_id_list`."""
