"""The checkable constraints of IFEval: their names and arguments."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from r2vpo.nearest import did_you_mean

RELATIONS = ("less than", "at least")
"""How numbers are compared; `less than` is strict."""

LANGUAGES = frozenset(
    (
        "af ar bg bn ca cs cy da de el en es et fa fi fr gu he hi hr hu id it ja kn ko lt lv mk ml mr ne nl "
        "no pa pl pt ro ru sk sl so sq sv sw ta te th tl tr uk ur vi zh-cn zh-tw"
    ).split()
)
"""Language codes that `language` may have: those that langdetect distinguishes."""


class Argument(NamedTuple):
    """An argument of a constraint: a test of its value, and the expected kind in words."""

    fits: Callable[[Any], bool]
    words: str


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

ARGUMENTS: dict[str, dict[str, Argument]] = {
    "keywords:existence": {"keywords": _TEXTS},
    "keywords:frequency": {"keyword": _TEXT, "frequency": _NUMBER, "relation": _RELATION},
    "keywords:forbidden_words": {"forbidden_words": _TEXTS},
    "keywords:letter_frequency": {"letter": _LETTER, "let_frequency": _NUMBER, "let_relation": _RELATION},
    "language:response_language": {"language": _LANGUAGE},
    "length_constraints:number_sentences": {"num_sentences": _NUMBER, "relation": _RELATION},
    "length_constraints:number_paragraphs": {"num_paragraphs": _NUMBER},
    "length_constraints:number_words": {"num_words": _NUMBER, "relation": _RELATION},
    "length_constraints:nth_paragraph_first_word": {
        "num_paragraphs": _NUMBER,
        "nth_paragraph": _NUMBER,
        "first_word": _TEXT,
    },
    "detectable_content:number_placeholders": {"num_placeholders": _NUMBER},
    "detectable_content:postscript": {"postscript_marker": _TEXT},
    "detectable_format:number_bullet_lists": {"num_bullets": _NUMBER},
    "detectable_format:constrained_response": {},
    "detectable_format:number_highlighted_sections": {"num_highlights": _NUMBER},
    "detectable_format:multiple_sections": {"section_spliter": _TEXT, "num_sections": _NUMBER},
    "detectable_format:json_format": {},
    "detectable_format:title": {},
    "combination:two_responses": {},
    "combination:repeat_prompt": {"prompt_to_repeat": _TEXT},
    "startend:end_checker": {"end_phrase": _TEXT},
    "startend:quotation": {},
    "change_case:capital_word_frequency": {"capital_frequency": _NUMBER, "capital_relation": _RELATION},
    "change_case:english_capital": {},
    "change_case:english_lowercase": {},
    "punctuation:no_comma": {},
}
"""For each name in `instruction_id_list`, the keys of its entry in `kwargs`, spelled as in google/IFEval."""


def clean_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Remove the keys of other constraints, which tables fill with null, from a constraint's arguments; 3.0 becomes 3.

    Args:
        given: the constraint's entry in `kwargs`.
    """
    return {
        key: int(value) if isinstance(value, float) and value.is_integer() else value
        for key, value in given.items()
        if value is not None
    }


def problem_with(names: Sequence[Any], arguments: Sequence[Mapping[str, Any]]) -> str | None:
    """Say what is wrong with a list of constraints and how to fix it, or return None.

    Args:
        names: `instruction_id_list`.
        arguments: `kwargs`, each the result of `clean_arguments`.
    """
    if len(names) != len(arguments):
        return f"'instruction_id_list' has {len(names)} names, 'kwargs' has {len(arguments)} entries: give one per name"
    for name, given in zip(names, arguments, strict=True):
        if name not in ARGUMENTS:
            hint = did_you_mean(str(name), ARGUMENTS, ": correct it")
            return f"'instruction_id_list' has {name!r}, which is unknown{hint}"
        wanted = ARGUMENTS[name]
        for key, kind in wanted.items():
            if key not in given:
                return f"'kwargs' of {name} has no {key!r}: write {kind.words}"
            if not kind.fits(given[key]):
                return f"'kwargs' of {name} has {key} = {given[key]!r}: write {kind.words}"
        if more := sorted(given.keys() - wanted.keys()):
            return f"'kwargs' of {name} has {more[0]!r}, which it does not take: remove it, or put the entries in order"
    return None
