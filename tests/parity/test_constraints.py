"""Our checks of IFEval's constraints beside those of lm-eval, on the same texts.

Left out are the differences that docs/rewards.md names. Punkt's trained model and the one of `word_tokenize` come by
another way than a package: NLTK's untrained sentence tokenizer and its word tokenizer stand in for them, on texts
without abbreviations.
"""

from __future__ import annotations

import collections
import json
import logging
import random
import re
import string
import sys
from types import SimpleNamespace

import langdetect
import pytest

from r2vpo.data.constraints import CONSTRAINTS
from tests.parity.installed import definitions, located

PACKAGE = ("lm_eval", "0.4.9.1")
FOLDER = "lm_eval/tasks/ifeval"
CLASSES = """Instruction ResponseLanguageChecker NumberOfSentences PlaceholderChecker BulletListChecker
    ConstrainedResponseChecker HighlightSectionChecker SectionChecker ParagraphChecker PostscriptChecker KeywordChecker
    KeywordFrequencyChecker NumberOfWords JsonFormat ParagraphFirstWordCheck ForbiddenWords TwoResponsesChecker
    RepeatPromptThenAnswer EndChecker TitleChecker LetterFrequencyChecker CapitalLettersEnglishChecker
    LowercaseLettersEnglishChecker CommaChecker CapitalWordFrequencyChecker QuotationChecker""".split()
PREFIXES = "_KEYWORD _LANGUAGE _LENGTH _CONTENT _FORMAT _COMBINATION _STARTEND _CHANGE_CASES _PUNCTUATION".split()

COUNTS = ("less than", "at least")
GIVEN = {
    "keywords:existence": [{"keywords": ["river", "Stone"]}, {"keywords": ["old"]}],
    "keywords:frequency": [{"keyword": "the", "frequency": 3, "relation": how} for how in COUNTS],
    "keywords:forbidden_words": [{"forbidden_words": ["river", "gold"]}, {"forbidden_words": ["nobody"]}],
    "keywords:letter_frequency": [{"letter": "E", "let_frequency": 9, "let_relation": how} for how in COUNTS],
    "language:response_language": [{"language": "en"}, {"language": "de"}],
    "length_constraints:number_sentences": [{"num_sentences": 4, "relation": how} for how in COUNTS],
    "length_constraints:number_paragraphs": [{"num_paragraphs": count} for count in (1, 2, 3)],
    "length_constraints:number_words": [{"num_words": 25, "relation": how} for how in COUNTS],
    "length_constraints:nth_paragraph_first_word": [
        {"num_paragraphs": count, "nth_paragraph": nth, "first_word": "the"}
        for count, nth in ((1, 1), (2, 1), (2, 2), (3, 3))
    ],
    "detectable_content:number_placeholders": [{"num_placeholders": 1}, {"num_placeholders": 2}],
    "detectable_content:postscript": [{"postscript_marker": "P.S."}, {"postscript_marker": "P.P.S"}],
    "detectable_format:number_bullet_lists": [{"num_bullets": count} for count in (1, 2)],
    "detectable_format:constrained_response": [{}],
    "detectable_format:number_highlighted_sections": [{"num_highlights": count} for count in (1, 2, 3)],
    "detectable_format:multiple_sections": [{"section_spliter": "Section", "num_sections": count} for count in (1, 2)],
    "detectable_format:json_format": [{}],
    "detectable_format:title": [{}],
    "combination:two_responses": [{}],
    "combination:repeat_prompt": [{"prompt_to_repeat": "The old river runs."}],
    "startend:end_checker": [{"end_phrase": "That is all."}],
    "startend:quotation": [{}],
    "change_case:capital_word_frequency": [{"capital_frequency": 2, "capital_relation": how} for how in COUNTS],
    "change_case:english_capital": [{}],
    "change_case:english_lowercase": [{}],
    "punctuation:no_comma": [{}],
}

SENTENCES = (
    "The old river runs.",
    "the children carried a heavy stone, and nobody saw them!",
    "Where did the GOLD go?",
    "He found two STONE-AGE tools near the river; they were broken.",
    "Der alte Fluss ist im Sommer sehr warm und im Winter kalt.",
    "*Never* again.",
    "**Bold words** are read twice.",
    "My answer is maybe.",
    "I LIVE IN [street name] now.",
    "Write to [name].",
    "<<A title>>",
    "P.S. I forgot it.",
    "P.P.S. I forgot this too",
    "Section 1",
    "Section 2",
    "That is all.",
)
JOINTS = (" ", " ", "\n", "\n\n", "\n- ", "\n* ", "\n***\n", "\n******\n")
WHOLE = ("", "7", '{"a": [1, "b"]}', '```json\n{"a": 1}\n```', "{'a': 1}", "My answer is no.", "<<>>", '"', '""')


def texts(name: str) -> list[str]:
    """Texts for a constraint: plain sentences where those are counted, and few where the language is told."""
    draw = random.Random(7)
    if name == "length_constraints:number_sentences":
        plain = [one for one in SENTENCES if re.fullmatch(r"[A-Z][\w ,;-]+[.!?]", one)]
        return [" ".join(draw.choices(plain, k=draw.randrange(1, 8))) for _ in range(600)]
    made = list(WHOLE)
    for _ in range(120 if name.startswith(("language", "change_case:english")) else 600):
        text = draw.choice(SENTENCES)
        for _ in range(draw.randrange(7)):
            text += draw.choice(JOINTS) + draw.choice(SENTENCES)
        change = draw.choice(
            (str, str, str, str.upper, str.lower, lambda one: f'"{one}"', lambda one: f"***\n{one}\n***")
        )
        made.append(change(text))
    return made


@pytest.fixture(scope="module")
def theirs():
    """A function from a constraint and what it is given to lm-eval's check of a text."""
    located("nltk", "3.9.2", "nltk")
    peers = str(located(*PACKAGE, ""))
    sys.path.append(peers)  # at the end, so that nothing else of it is found first
    try:
        from nltk.tokenize import RegexpTokenizer, word_tokenize
        from nltk.tokenize.punkt import PunktSentenceTokenizer
    finally:
        sys.path.remove(peers)
    tools = SimpleNamespace(
        count_sentences=lambda text: len(PunktSentenceTokenizer().tokenize(text)),
        nltk=SimpleNamespace(
            word_tokenize=lambda text: word_tokenize(text, preserve_line=True),
            tokenize=SimpleNamespace(RegexpTokenizer=RegexpTokenizer),
        ),
    )
    words = definitions(*PACKAGE, f"{FOLDER}/instructions_util.py", ["count_words"], nltk=tools.nltk)
    tools.count_words = words["count_words"]
    classes = definitions(
        *PACKAGE,
        f"{FOLDER}/instructions.py",
        [*CLASSES, "_COMPARISON_RELATION", "_CONSTRAINED_RESPONSE_OPTIONS"],
        **{"collections": collections, "json": json, "logging": logging, "random": random, "re": re, "string": string},
        langdetect=langdetect,
        instructions_util=tools,
        _LANGUAGES={"en": "English", "de": "German"},
    )
    table = definitions(
        *PACKAGE,
        f"{FOLDER}/instructions_registry.py",
        [*PREFIXES, "INSTRUCTION_DICT"],
        instructions=SimpleNamespace(**{name: classes[name] for name in CLASSES}),
    )["INSTRUCTION_DICT"]

    def checker(name, given):
        made = table[name](name)
        made.build_description(**given)
        return made.check_following

    checker.names = set(table)
    return checker


def test_the_25_constraints_are_theirs(theirs):
    assert theirs.names == set(CONSTRAINTS) == set(GIVEN) and len(GIVEN) == 25


@pytest.mark.parametrize("name", GIVEN)
def test_verdicts_are_those_of_lm_eval(name, theirs):
    langdetect.DetectorFactory.seed = 0
    for given in GIVEN[name]:
        check = theirs(name, given)
        wanted = {text: bool(check(text)) for text in texts(name)}
        assert set(wanted.values()) == {True, False}, "a verdict that is always the same compares nothing"
        differing = [text for text, kept in wanted.items() if CONSTRAINTS[name].check(text, **given) is not kept]
        assert not differing, (given, differing[:3], len(differing))
