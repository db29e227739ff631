"""Check whether a text keeps a constraint, for each of the 25 constraints of IFEval.

Written from the definitions of Zhou et al., arXiv 2311.07911, table 1. The time of a check is linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

_SENTENCE_END = re.compile(r"[.!?]+[\"'”’)\]*]*(?=\s|$)")
_ABBREVIATIONS = frozenset("mr mrs ms dr prof st jr sr vs e.g i.e etc no vol fig inc ltd co".split())
_WORD = re.compile(r"\w+")
_TOKEN = re.compile(r"[^\W_]+(?:['’.-][^\W_]+)*")
_CONSTRAINED = ("My answer is yes.", "My answer is no.", "My answer is maybe.")


def _holds(count: int, relation: str, bound: int) -> bool:
    return count < bound if relation == "less than" else count >= bound


def _existence(text: str, keywords: list[str]) -> bool:
    folded = text.lower()
    return all(word.lower() in folded for word in keywords)


def _frequency(text: str, keyword: str, frequency: int, relation: str) -> bool:
    return _holds(text.lower().count(keyword.lower()), relation, frequency)


def _forbidden_words(text: str, forbidden_words: list[str]) -> bool:
    return not any(re.search(_as_word(word), text, re.IGNORECASE) for word in forbidden_words)


def _as_word(word: str) -> str:
    """Return a pattern for a word that is not part of a longer one; a sign at its edge (`C++`, `#1`) has no limit."""
    start = r"(?<!\w)" if re.match(r"\w", word) else ""
    end = r"(?!\w)" if re.search(r"\w\Z", word) else ""
    return start + re.escape(word) + end


def _letter_frequency(text: str, letter: str, let_frequency: int, let_relation: str) -> bool:
    return _holds(text.lower().count(letter.lower()), let_relation, let_frequency)


def _response_language(text: str, language: str) -> bool:
    return detected(text) in (language, None)


def _number_sentences(text: str, num_sentences: int, relation: str) -> bool:
    return _holds(count_sentences(text), relation, num_sentences)


def _number_paragraphs(text: str, num_paragraphs: int) -> bool:
    return _divided(text, "***") == num_paragraphs


def _number_words(text: str, num_words: int, relation: str) -> bool:
    return _holds(len(_WORD.findall(text)), relation, num_words)


def _nth_paragraph(text: str, num_paragraphs: int, nth_paragraph: int, first_word: str) -> bool:
    paragraphs = [part for part in text.split("\n\n") if part.strip()]
    if len(paragraphs) != num_paragraphs or not 1 <= nth_paragraph <= num_paragraphs:
        return False
    word = paragraphs[nth_paragraph - 1].split()[0].lstrip("'\"")
    return re.split(r"[.,?!'\"]", word)[0].lower() == first_word.lower()


def _number_placeholders(text: str, num_placeholders: int) -> bool:
    return len(re.findall(r"\[[^\[\]\n]*\]", text)) >= num_placeholders


def _postscript(text: str, postscript_marker: str) -> bool:
    # There may be a space between the letters: P. S.
    letters = re.findall(r"\S", postscript_marker.lower())
    return re.search(r"\s?".join(map(re.escape, letters)), text.lower()) is not None


def _number_bullet_lists(text: str, num_bullets: int) -> bool:
    lines = [line.strip() for line in text.splitlines()]
    return sum(line.startswith("-") or re.match(r"\*[^*]", line) is not None for line in lines) == num_bullets


def _constrained_response(text: str) -> bool:
    return any(option in text for option in _CONSTRAINED)


def _highlighted(text: str, num_highlights: int) -> bool:
    single = [found.strip("*").strip() for found in re.findall(r"\*[^\n*]*\*", text)]
    double = [found.strip("*").strip() for found in re.findall(r"\*\*[^\n*]*\*\*", text)]
    return sum(map(bool, single + double)) >= num_highlights


def _multiple_sections(text: str, section_spliter: str, num_sections: int) -> bool:
    return len(re.findall(rf"{re.escape(section_spliter)}\s?\d+", text)) >= num_sections


def _json_format(text: str) -> bool:
    text = re.sub(r"^```(?:json)?", "", text.strip(), flags=re.IGNORECASE)
    try:
        json.loads(text.removesuffix("```").strip())
    except (ValueError, RecursionError):
        return False
    return True


def _title(text: str) -> bool:
    for line in text.splitlines():
        start, end = line.find("<<"), line.rfind(">>")
        if 0 <= start < end and line[start:end].strip("<> \t"):
            return True
    return False


def _two_responses(text: str) -> bool:
    parts = [part.strip() for part in text.split("******")]
    return _divided(text, "******") == 2 and len({part for part in parts if part}) == 2


def _repeat_prompt(text: str, prompt_to_repeat: str) -> bool:
    return text.strip().lower().startswith(prompt_to_repeat.strip().lower())


def _end_checker(text: str, end_phrase: str) -> bool:
    return text.strip().strip('"').lower().endswith(end_phrase.strip().lower())


def _quotation(text: str) -> bool:
    text = text.strip()
    return len(text) > 1 and text.startswith('"') and text.endswith('"')


def _capital_words(text: str, capital_frequency: int, capital_relation: str) -> bool:
    return _holds(sum(word.isupper() for word in _TOKEN.findall(text)), capital_relation, capital_frequency)


def _english_capital(text: str) -> bool:
    return text.isupper() and detected(text) in ("en", None)


def _english_lowercase(text: str) -> bool:
    return text.islower() and detected(text) in ("en", None)


def _no_comma(text: str) -> bool:
    return "," not in text


CHECKS: dict[str, Callable[..., bool]] = {
    "keywords:existence": _existence,
    "keywords:frequency": _frequency,
    "keywords:forbidden_words": _forbidden_words,
    "keywords:letter_frequency": _letter_frequency,
    "language:response_language": _response_language,
    "length_constraints:number_sentences": _number_sentences,
    "length_constraints:number_paragraphs": _number_paragraphs,
    "length_constraints:number_words": _number_words,
    "length_constraints:nth_paragraph_first_word": _nth_paragraph,
    "detectable_content:number_placeholders": _number_placeholders,
    "detectable_content:postscript": _postscript,
    "detectable_format:number_bullet_lists": _number_bullet_lists,
    "detectable_format:constrained_response": _constrained_response,
    "detectable_format:number_highlighted_sections": _highlighted,
    "detectable_format:multiple_sections": _multiple_sections,
    "detectable_format:json_format": _json_format,
    "detectable_format:title": _title,
    "combination:two_responses": _two_responses,
    "combination:repeat_prompt": _repeat_prompt,
    "startend:end_checker": _end_checker,
    "startend:quotation": _quotation,
    "change_case:capital_word_frequency": _capital_words,
    "change_case:english_capital": _english_capital,
    "change_case:english_lowercase": _english_lowercase,
    "punctuation:no_comma": _no_comma,
}
"""Functions of the text and of the values in `kwargs`, by the name in `instruction_id_list`."""


def detected(text: str) -> str | None:
    """Detect the language of a text with langdetect, with a fixed seed; None if it cannot tell.

    Args:
        text: any text; only its first 10,000 characters count.
    """
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

    Args:
        text: any text.
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
