"""The constraints of IFEval: what keeps them and what does not, by hand."""

import json
import time
from pathlib import Path

import pytest
from langdetect import PROFILES_DIRECTORY

from r2vpo.data.constraints import CONSTRAINTS, LANGUAGES, count_sentences
from r2vpo.data.rows import PromptRow
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.constraints import loose_texts

SENTENCE = "The cat sat on the mat and looked at the people who walked by in the street."
# name, arguments, texts that keep it, texts that do not
CASES = [
    ("keywords:existence", {"keywords": ["cat", "Sea"]}, ["A CAT by the sea.", "category of seals"], ["A cat."]),
    (
        "keywords:frequency",
        {"keyword": "very", "frequency": 2, "relation": "at least"},
        ["Very, very good", "everyvery"],
        ["very good"],
    ),
    (
        "keywords:frequency",
        {"keyword": "very", "frequency": 2, "relation": "less than"},
        ["very good", "good"],
        ["very very"],
    ),
    ("keywords:forbidden_words", {"forbidden_words": ["cat", "c++"]}, ["A category.", "c+"], ["A Cat.", "cat-like"]),
    (
        "keywords:forbidden_words",
        {"forbidden_words": ["C++", "A+", "#1", ".NET", "$5"]},
        ["C", "A", "#10", "NET", "$50", "CC+", "BA+"],
        ["I like c++.", "C++11", "An A+ for you", "we are #1!", "ASP.NET", "it costs $5."],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "Z", "let_frequency": 2, "let_relation": "at least"},
        ["Zebra zoo", "jazz"],
        ["zoo"],
    ),
    (
        "keywords:letter_frequency",
        {"letter": "#", "let_frequency": 1, "let_relation": "less than"},
        ["none"],
        ["#1"],
    ),
    (
        "language:response_language",
        {"language": "de"},
        ["Die Katze liegt auf der Matte und schläft den ganzen Tag.", "123"],
        [SENTENCE],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "at least"},
        ["One. Two.", 'He said "no!" Then he left'],
        ["Dr. Smith paid 3.5 dollars.", "One"],
    ),
    (
        "length_constraints:number_sentences",
        {"num_sentences": 2, "relation": "less than"},
        ["Only one.", "e.g. this"],
        ["One. Two."],
    ),
    (
        "length_constraints:number_paragraphs",
        {"num_paragraphs": 2},
        ["a\n***\nb", "***\na\n***\nb\n***", "a *** b"],
        ["a", "a\n***\n***\nb", "a\n\nb", "a***b***c"],
    ),
    (
        "length_constraints:number_words",
        {"num_words": 3, "relation": "at least"},
        ["one two three", "one-two 3"],
        ["one two", "..."],
    ),
    ("length_constraints:number_words", {"num_words": 3, "relation": "less than"}, ["one two"], ["one two three"]),
    (
        "length_constraints:nth_paragraph_first_word",
        {"num_paragraphs": 2, "nth_paragraph": 2, "first_word": "Well"},
        ["a\n\nWell, b", 'a\n\n\n\n"well" b'],
        ["Well\n\na", "a\n\nwellness", "a\n\nWell b\n\nc", "a\nWell"],
    ),
    (
        "detectable_content:number_placeholders",
        {"num_placeholders": 2},
        ["[name], [home address]", "[a][b]"],
        ["[name]", "[[name]]", "[a\nb] [c]"],
    ),
    ("detectable_content:postscript", {"postscript_marker": "P.S."}, ["Bye.\nP.S. I", "p. s. x"], ["Bye. PS I"]),
    ("detectable_content:postscript", {"postscript_marker": "P.P.S"}, ["x\nP. P.S. y"], ["P.S. I"]),
    (
        "detectable_format:number_bullet_lists",
        {"num_bullets": 2},
        ["* a\n* b", "Now:\n - a\n\t* b\nend", "*a*\n- b"],
        ["* a", "- a\n- b\n- c", "** a\n** b"],
    ),
    (
        "detectable_format:constrained_response",
        {},
        ["My answer is no.", "So: My answer is maybe."],
        ["no", "My answer"],
    ),
    (
        "detectable_format:number_highlighted_sections",
        {"num_highlights": 2},
        ["*a* and *b c*", "**a** *b*"],
        ["*a*", "**** **", "*a\nb* *c*"],
    ),
    (
        "detectable_format:multiple_sections",
        {"section_spliter": "Section", "num_sections": 2},
        ["Section 1\na\nSection 2\nb", "Section1 Section2 Section 3"],
        ["Section 1\na", "section 1\nsection 2", "Section A Section B"],
    ),
    (
        "detectable_format:json_format",
        {},
        ['{"a": [1]}', '```json\n{"a": 1}\n```', "```\n[]\n```", "3"],
        ["{a: 1}", '{"a": 1} ok', "[" * 100_000],
    ),
    ("detectable_format:title", {}, ["<<joy>>\nb", "see <<a b>> c"], ["<<>>", "<< >>", "<<a\nb>>", "<joy>", ">>a<<"]),
    (
        "combination:two_responses",
        {},
        ["a\n******\nb", "******a******b******"],
        ["a", "a******a", "a******b******c", "a************b"],
    ),
    (
        "combination:repeat_prompt",
        {"prompt_to_repeat": "Write a poem."},
        [" write a poem.\nRoses", "Write a poem."],
        ["Roses. Write a poem.", "Write a  poem."],
    ),
    (
        "startend:end_checker",
        {"end_phrase": "That is all."},
        ["So. that is all. ", '"That is all."'],
        ["That is all. x"],
    ),
    ("startend:quotation", {}, [' "a" ', '""'], ['"', "'a'", '"a" b']),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "at least"},
        ["I SAID so", "STATE-OF-THE-ART USA"],
        ["I said So", "IaS"],
    ),
    (
        "change_case:capital_word_frequency",
        {"capital_frequency": 2, "capital_relation": "less than"},
        ["I said so"],
        ["I SAID so"],
    ),
    (
        "change_case:english_capital",
        {},
        [SENTENCE.upper()],
        [SENTENCE, "DIE KATZE LIEGT AUF DER MATTE", "1"],
    ),
    ("change_case:english_lowercase", {}, [SENTENCE.lower()], [SENTENCE, "die katze liegt auf der matte und schläft"]),
    ("punctuation:no_comma", {}, ["a; b"], ["a, b"]),
]


def score(text, *constraints, **options):
    known = {"instruction_id_list": [name for name, _ in constraints], "kwargs": [given for _, given in constraints]}
    reward = load_reward({"name": "constraints", **options})
    (value,) = reward(prompts=["p"], completions=[text], answer=[""], metadata=[json.dumps(known)])
    return value


def test_there_is_a_case_for_each_of_the_25():
    assert set(CONSTRAINTS) == {name for name, *_ in CASES} and len(CONSTRAINTS) == 25
    assert {path.name for path in Path(PROFILES_DIRECTORY).iterdir()} == LANGUAGES


@pytest.mark.parametrize(("name", "given", "kept", "broken"), CASES)
def test_by_hand(name, given, kept, broken):
    assert [(text, score(text, (name, given))) for text in kept] == [(text, 1.0) for text in kept]
    assert [(text, score(text, (name, given))) for text in broken] == [(text, 0.0) for text in broken]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("...", 0),
        ("No end", 1),
        ("One. Two! Three?", 3),
        ("Really?! Yes.", 2),
        ("It is 3.5 km. Far.", 2),
        ("Mr. and Mrs. Smith met J. R. Tolkien.", 1),
        ("So did I. He left.", 2),
        ("It was approx. ten.", 1),
        ("1. Milk\n2. Bread", 1),
        ("It was 1999. He left.", 2),
        ("Cats, dogs, etc.", 1),
        ("(He left.) She stayed.", 2),
        ("One.\n\nTwo.", 2),
    ],
)
def test_sentences(text, count):
    assert count_sentences(text) == count


NO_COMMA, LOWER = ("punctuation:no_comma", {}), ("change_case:english_lowercase", {})
ENDS = ("startend:end_checker", {"end_phrase": "the end"})


def test_all_or_the_fraction():
    assert score("One, two. The end", NO_COMMA, ENDS, LOWER) == 0.0
    assert score("One, two. The end", NO_COMMA, ENDS, LOWER, score="fraction") == pytest.approx(1 / 3)
    assert score("One two. The end", NO_COMMA, ENDS) == 1.0
    assert score("", NO_COMMA) == score(" \n", NO_COMMA, mode="loose") == 0.0, "an empty completion keeps nothing"
    assert score("<think>One, two</think>\nThree. The end", NO_COMMA, ENDS) == 1.0
    assert score("<think>three. The end", NO_COMMA, ENDS) == 0.0, "the thought never ended"
    known = json.dumps({"instruction_id_list": [NO_COMMA[0]], "kwargs": [{}]})
    chat = [{"role": "assistant", "content": "a, b"}]
    assert load_reward("constraints")(prompts=["p"], completions=[chat], answer=[""], metadata=[known]) == [0.0]


@pytest.mark.parametrize(
    ("text", "constraint"),
    [
        ("Sure, here it is:\nNo commas here", NO_COMMA),
        ("This is the end\nI hope that helps!", ENDS),
        ("Sure, here:\nNo commas\nI hope, that helps!", NO_COMMA),
        ("This is **the end**", ENDS),
    ],
)
def test_loose_forgives_what_stands_around(text, constraint):
    assert (score(text, constraint), score(text, constraint, mode="loose")) == (0.0, 1.0)


def test_loose_takes_a_constraint_at_a_time_from_eight_texts():
    assert list(loose_texts("*a*\nb\nc")) == ["*a*\nb\nc", "a\nb\nc", "b\nc", "b\nc", "*a*\nb", "a\nb", "b", "b"]
    # No one of the eight keeps both: without the first line the phrase is gone, with it there is a comma.
    first = ("combination:repeat_prompt", {"prompt_to_repeat": "Well,"})
    assert score("Well, so\nbe it", first, NO_COMMA, mode="loose") == 1.0
    assert score("Well, so", first, NO_COMMA, mode="loose") == 0.0, "nothing is left of one line"


def test_rows_without_constraints_or_with_wrong_ones():
    reward = load_reward("constraints")
    for known, said in (
        ({}, "names no constraints: use data.schema ifeval, or data.source instructions"),
        ({"instruction_id_list": ["a:b"], "kwargs": [{}]}, "has 'a:b', which is unknown: correct it"),
    ):
        assert reward(prompts=["p"], completions=["c"], answer=[""], metadata=[json.dumps(known)]) == [None]
        (reason,) = reward.unreadable([PromptRow("p", "", metadata=known)])
        assert said in reason
    known = {"instruction_id_list": [NO_COMMA[0]], "kwargs": [{}]}
    assert reward.unreadable([PromptRow("p", "", metadata=known)]) == [None]
    with pytest.raises(UserError, match=r"reward\.mode"):
        load_reward({"name": "constraints", "mode": "lose"})


@pytest.mark.parametrize(
    "text", ["\n" * 50_000, "[" * 50_000, "<<" * 25_000, ". " * 25_000, "*" * 50_000, "P." * 25_000]
)
def test_no_text_takes_a_check_long(text):
    start = time.process_time()
    for name, given, *_ in CASES:
        CONSTRAINTS[name].check(text, **given)
    assert time.process_time() - start < 5
