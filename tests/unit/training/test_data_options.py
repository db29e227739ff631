"""Every setting of a recipe's problems reaches the data package."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from r2vpo.data.options import FewShotOptions, HabitOptions, JsonlOptions, MixtureComponent, ReasoningGymOptions
from r2vpo.training.data_options import data_options
from r2vpo.training.recipe_inputs import HabitData, JsonlData, ReasoningGymData

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


def test_jsonl() -> None:
    columns = {"prompt_column": "p", "answer_column": "a", "difficulty_column": "d"}
    data = JsonlData.model_validate(
        {"source": "jsonl", "path": "a.jsonl", "held_out_path": "b.jsonl", "held_out_size": 7} | columns
    )
    assert data_options(data, seed=9) == JsonlOptions(
        path=Path("a.jsonl"), held_out_path=Path("b.jsonl"), held_out=7, seed=9, **columns
    )
    alone = JsonlData.model_validate({"source": "jsonl", "path": "a.jsonl"})
    assert data_options(alone, seed=0).held_out_path is None


def test_habit() -> None:
    settings = {"format": "chain", "difficulties": ["two carries"], "train_size": 50, "held_out_size": 30}
    data = HabitData.model_validate({"source": "habit"} | settings)
    assert data_options(data, seed=9) == HabitOptions(
        format="chain", difficulties=("two carries",), train=50, held_out=30, seed=9
    )
    for wrong in ([], ["two carries"] * 2, ["three carries"]):
        with pytest.raises(ValidationError, match=r"(?s)difficulties"):
            HabitData.model_validate({"source": "habit", "difficulties": wrong})


def test_defaults_agree_with_the_data_package() -> None:
    assert data_options(HabitData.model_validate({"source": "habit"}), seed=0) == HabitOptions()
    item = {"family": "chain_sum", "difficulty": "easy"}
    data = ReasoningGymData.model_validate({"source": "reasoning_gym", "mixture": [item]})
    assert data_options(data, seed=0) == ReasoningGymOptions(mixture=(MixtureComponent(**item),))
