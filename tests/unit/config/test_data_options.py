"""Every setting of a recipe's problems reaches the data package."""

import re

import pytest
from pydantic import ValidationError

from r2vpo.config.data_options import data_options
from r2vpo.config.recipe_inputs import DatasetData, HabitData, InstructionsData, ReasoningGymData
from r2vpo.data.options import (
    DatasetOptions,
    FewShotOptions,
    HabitOptions,
    InstructionsOptions,
    MixtureComponent,
    ReasoningGymOptions,
)

ITEM = {
    "family": "chain_sum",
    "difficulty": "easy",
    "weight": 2.0,
    "params": {"min_terms": 2},
    "question": "{question}=",
}


def test_reasoning_gym() -> None:
    data = ReasoningGymData.model_validate(
        {"source": "reasoning_gym", "mixture": [ITEM], "few_shot": 3, "train_size": 40, "held_out_size": 20}
    )
    assert data_options(data, seed=9) == ReasoningGymOptions(
        mixture=(MixtureComponent(**ITEM),),
        train=40,
        held_out=20,
        seed=9,
        few_shot=FewShotOptions(count=3, seed=9),
    )


def test_a_data_set() -> None:
    same = {
        "subset": "main",
        "split": "train",
        "revision": "abc",
        "prompt_column": "p",
        "answer_column": "a",
        "difficulty_column": "d",
        "held_out_subset": "test-only",
        "held_out_split": "test",
        "system_prompt": "Be short.",
        "instruction": "Q: {question}",
        "few_shot": 2,
        "contamination": "drop",
        "contamination_words": 8,
    }
    data = DatasetData.model_validate(
        {"source": "dataset", "path": "a/b", "schema": "plain", "held_out_path": ["c.jsonl", "d.jsonl"]}
        | {"held_out_schema": "math", "held_out_size": 7, "train_size": 50, "max_prompt_tokens": 9}
        | same
    )
    expected = DatasetOptions(
        path=("a/b",),
        layout="plain",
        held_out_path=("c.jsonl", "d.jsonl"),
        held_out_layout="math",
        held_out=7,
        train=50,
        seed=9,
        **same,
    )
    assert data_options(data, seed=9) == expected
    # The trainer's tokenizer is needed for the one that is left.
    options = {"layout": "schema", "held_out_layout": "held_out_schema", "held_out": "held_out_size"}
    options |= {"train": "train_size", "kind": "source"}
    reached = {options.get(name, name) for name in DatasetOptions.model_fields} - {"seed"}
    assert reached == {field.alias or name for name, field in DatasetData.model_fields.items()} - {"max_prompt_tokens"}


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"instruction": "Q:"}, "write {question} where the question goes"),
        ({"schema": "gsm8k", "prompt_column": "q"}, "prompt_column is for schema plain; gsm8k has its own columns"),
        ({"held_out_subset": "x"}, "held_out_subset is for held_out_path"),
        ({"held_out_schema": "math"}, "held_out_schema is for held_out_path"),
        ({"held_out_size": None}, "held_out_size is null; give a number"),
        ({"schema": "gsm9k"}, "gsm8k"),
        ({"path": []}, "path"),
        ({"path": ""}, "path"),
        ({"layout": "gsm8k"}, "layout"),
    ],
)
def test_settings_of_a_data_set_that_are_refused(settings: dict[str, object], said: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(said)):
        DatasetData.model_validate({"source": "dataset", "path": "a/b"} | settings)
    assert DatasetData.model_validate({"source": "dataset", "path": "a/b"}).path == ["a/b"]


def test_habit() -> None:
    settings = {"format": "chain", "difficulties": ["two carries"], "train_size": 50, "held_out_size": 30}
    data = HabitData.model_validate({"source": "habit"} | settings)
    assert data_options(data, seed=9) == HabitOptions(
        format="chain", difficulties=("two carries",), train=50, held_out=30, seed=9
    )
    assert data.trained_on() == ["two carries"]
    everything = HabitData.model_validate({"source": "habit", "format": "sum3"})
    assert everything.trained_on() == ["no carry", "one carry", "two carries", "three carries"]
    assert data_options(everything, seed=9) == HabitOptions(format="sum3", seed=9)
    for wrong in ([], ["two carries"] * 2, ["three carries"]):
        with pytest.raises(ValidationError, match=r"(?s)difficulties"):
            HabitData.model_validate({"source": "habit", "difficulties": wrong})


def test_instructions() -> None:
    settings = {"constraints": [3, 1], "train_size": 50, "held_out_size": 30}
    data = InstructionsData.model_validate({"source": "instructions"} | settings)
    assert data_options(data, seed=9) == InstructionsOptions(constraints=(3, 1), train=50, held_out=30, seed=9)
    for wrong in ([], [1, 1], [0], [5]):
        with pytest.raises(ValidationError, match=r"(?s)constraints"):
            InstructionsData.model_validate({"source": "instructions", "constraints": wrong})


def test_defaults_agree_with_the_data_package() -> None:
    assert data_options(HabitData.model_validate({"source": "habit"}), seed=0) == HabitOptions()
    assert data_options(InstructionsData.model_validate({"source": "instructions"}), seed=0) == InstructionsOptions()
    alone = DatasetData.model_validate({"source": "dataset", "path": "a.jsonl"})
    assert data_options(alone, seed=0) == DatasetOptions(path=("a.jsonl",))
    item = {"family": "chain_sum", "difficulty": "easy"}
    data = ReasoningGymData.model_validate({"source": "reasoning_gym", "mixture": [item]})
    assert data_options(data, seed=0) == ReasoningGymOptions(mixture=(MixtureComponent(**item),))
