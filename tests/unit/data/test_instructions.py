"""Writing tasks with constraints: what is asked is what is checked, and held-out topics stay held out."""

import random

import pytest
from pydantic import ValidationError

from r2vpo.data import InstructionsOptions, load_data
from r2vpo.data.constraints import CONSTRAINTS, problem_with
from r2vpo.data.instructions import FAMILIES, HELD_OUT_TOPICS, TASKS, TOPICS
from r2vpo.errors import UserError
from r2vpo.rewards import load_reward
from r2vpo.rewards.constraints import follows

# A text that keeps what each sentence of a prompt asks for, and one that does not.
KEPT_AND_BROKEN = {
    "keywords:frequency": ("{keyword} or {keyword}", "once"),
    "keywords:forbidden_words": ("sun shines", "a {forbidden_words[0]} b"),
    "keywords:letter_frequency": ("{letter}", "a"),
    "length_constraints:number_words": ("short", "word " * 20),
    "length_constraints:number_sentences": ("One. Two. Three. Four.", "One. Two."),
    "detectable_format:number_highlighted_sections": ("a *b*", "a b"),
    "detectable_format:title": ("<<joy>>", "joy"),
    "detectable_content:number_placeholders": ("[address]", "address"),
    "startend:end_checker": ("So. {end_phrase}", "So."),
    "change_case:capital_word_frequency": ("VERY GOOD", "Very Good"),
    "punctuation:no_comma": ("a b", "a, b"),
}


def texts(rows):
    return [row.prompt[0]["content"] for row in rows]


def test_what_is_asked_is_what_is_checked():
    rng = random.Random(0)
    found = set()
    for family in FAMILIES:
        for _ in range(20):
            name, arguments, text = family.draw(rng)
            found.add(name)
            assert problem_with([name], [arguments]) is None
            for value in arguments.values():
                shown = value[0] if isinstance(value, list) else str(value)
                words = {"1": "at least one", "2": "at least tw", "at least": "at least", "less than": "fewer than"}
                assert shown in text or words[shown] in text.replace("once", "one"), (name, shown, text)
            kept, broken = (example.format(**arguments) for example in KEPT_AND_BROKEN[name])
            assert follows(kept, [name], [arguments], mode="strict") == [True]
            assert follows(broken, [name], [arguments], mode="strict") == [False]
    assert found == set(KEPT_AND_BROKEN) <= set(CONSTRAINTS) and len(FAMILIES) == len(found)


def test_held_out_topics_are_not_trained_on_whatever_the_seed():
    assert len(set(TOPICS)) == len(TOPICS) == 48
    asked = {
        part: {task.format(topic) for task in TASKS for topic in topics}
        for part, topics in (("train", TOPICS[:-HELD_OUT_TOPICS]), ("held_out", TOPICS[-HELD_OUT_TOPICS:]))
    }
    for seed in (0, 1):
        data = load_data(InstructionsOptions(train_size=600, held_out_size=300), seed=seed)
        for part, rows in (("train", data.train), ("held_out", data.held_out)):
            assert all(any(text.startswith(one + " ") for one in asked[part]) for text in texts(rows))
        everything = texts(data.train + data.held_out)
        assert len(set(everything)) == 900


def test_difficulty_is_the_number_of_constraints():
    data = load_data(InstructionsOptions(constraints=[1, 3], train_size=81, held_out_size=20))
    assert data.counts() == {
        "train": {"1 constraint": 41, "3 constraints": 40},
        "held_out": {"1 constraint": 10, "3 constraints": 10},
    }
    for row in data.train:
        names = row.metadata["instruction_id_list"]
        assert row.difficulty.startswith(str(len(names))) and len(set(names)) == len(names)
        assert len(row.metadata["kwargs"]) == len(names)
        clash = {"length_constraints:number_words", "length_constraints:number_sentences"}
        assert not clash <= set(names)


def test_the_seed_alone_decides_what_is_drawn():
    options = InstructionsOptions(train_size=60, held_out_size=20)
    assert load_data(options) == load_data(options)
    more = load_data(options.model_copy(update={"train_size": 90}))
    assert more.held_out == load_data(options).held_out and len(more.train) == 90
    assert texts(load_data(options, seed=2).train) != texts(load_data(options).train)


def test_the_reward_reads_the_metadata():
    rows = load_data(InstructionsOptions(constraints=[2], train_size=200, held_out_size=2)).train
    columns = [row.columns() for row in rows]
    reward = load_reward({"name": "constraints", "score": "fraction"})
    scores = reward(
        prompts=[row.prompt for row in rows],
        completions=["No, good bye."] * len(rows),
        answer=[""] * len(rows),
        metadata=[column["metadata"] for column in columns],
    )
    assert set(scores) == {0.0, 0.5, 1.0}


def test_too_many_prompts_are_refused():
    with pytest.raises(
        UserError, match=r"data\.held_out_size = 20000: with 1 constraint there are only \d+ prompts, but 20000 are"
    ):
        load_data(InstructionsOptions(constraints=[1], held_out_size=20_000))
    with pytest.raises(ValidationError):
        InstructionsOptions(constraints=[5])
