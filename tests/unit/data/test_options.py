"""The options of the data sources: told apart, and refused where they are wrong."""

import re

import pytest
from pydantic import TypeAdapter, ValidationError

from r2vpo.data import (
    DataOptions,
    DatasetOptions,
    HabitOptions,
    InstructionsOptions,
    MixtureComponent,
    ReasoningGymOptions,
)

parse = TypeAdapter(DataOptions).validate_python


def test_sources_are_told_apart_and_their_options_are_frozen() -> None:
    data = parse({"source": "dataset", "path": "a/b", "schema": "gsm8k", "held_out_path": ["c.jsonl", "d.jsonl"]})
    assert data == DatasetOptions(path=["a/b"], schema="gsm8k", held_out_path=["c.jsonl", "d.jsonl"])
    assert (data.path, data.layout) == (["a/b"], "gsm8k") and data.model_dump()["schema"] == "gsm8k"
    mixture = parse({"source": "reasoning_gym", "mixture": [{"family": "gcd"}]})
    assert mixture == ReasoningGymOptions(mixture=[MixtureComponent(family="gcd", difficulty="all", weight=1.0)])
    assert parse({"source": "habit"}) == HabitOptions() and parse({"source": "instructions"}) == InstructionsOptions()
    with pytest.raises(ValidationError):
        mixture.train_size = 5


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"source": "dataset"}, "path"),
        ({"source": "dataset", "path": []}, "path"),
        ({"source": "dataset", "path": ""}, "path"),
        ({"path": "a/b"}, "source"),
        ({"source": "reasoning_gym", "mixture": []}, "mixture"),
        ({"source": "reasoning_gym", "mixture": [{"family": "gcd", "weight": 0}]}, "weight"),
        ({"source": "reasoning_gym", "mixture": [{"family": "gcd"}], "held": 3}, "held"),
        ({"source": "instructions", "constraints": []}, "constraints"),
        ({"source": "instructions", "constraints": [1, 1]}, "names one of 1, 1 twice; name each once"),
        ({"source": "instructions", "constraints": [0]}, "constraints"),
        ({"source": "instructions", "constraints": [5]}, "constraints"),
        ({"source": "habit", "difficulties": []}, "difficulties"),
        ({"source": "habit", "difficulties": ["two carries"] * 2}, "names one of two carries, two carries twice"),
        ({"source": "habit", "difficulties": ["three carries"]}, "has three carries, which format sum does not have"),
    ],
)
def test_options_that_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        parse(settings)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"instruction": "Q:"}, "write {question} where the question goes"),
        ({"schema": "gsm8k", "prompt_column": "q"}, "prompt_column is for schema plain; gsm8k has its own columns"),
        ({"held_out_subset": "x"}, "held_out_subset is for held_out_path"),
        ({"held_out_schema": "math"}, "held_out_schema is for held_out_path"),
        ({"held_out_size": None}, "held_out_size is null; give a number"),
        ({"schema": "gsm9k"}, "gsm8k"),
        ({"layout": "gsm8k"}, "layout is now called schema: rename it"),
        ({"held_out": 3}, "held_out is now called held_out_size"),
        ({"train": 3}, "train is now called train_size"),
    ],
)
def test_options_of_a_data_set_that_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        DatasetOptions.model_validate({"path": "a/b"} | settings)


def test_difficulties_of_habit_are_written_out() -> None:
    assert HabitOptions(format="chain", difficulties=["two carries"]).trained_on() == ["two carries"]
    assert HabitOptions(format="sum3").trained_on() == ["no carry", "one carry", "two carries", "three carries"]
