"""The reward of a recipe: its options and parts, and what is refused and in which words."""

from pathlib import Path

import pytest

from r2vpo.config.recipe import dump_recipe, load_recipe
from tests.unit.training.recipes import refusal


def test_a_data_set_needs_a_reward_of_its_own(path: Path) -> None:
    path.write_text("name: mine\ndata: {source: dataset, path: rows.jsonl}\n")
    assert "reward.name" in refusal(path)
    assert load_recipe(path, ["reward.name=numeric"]).data.prompt_column == "prompt"
    assert load_recipe(path, ["reward.name=my.rewards:score"]).reward.name == "my.rewards:score"


def test_a_reward_takes_its_options_and_parts(path: Path) -> None:
    head = "name: mine\ndata: {source: dataset, path: rows.jsonl}\n"
    path.write_text(head + "reward: {name: numeric, tolerance: 0.5}\n")
    recipe = load_recipe(path)
    assert recipe.reward.options() == {"name": "numeric", "tolerance": 0.5}
    assert [(part.name, part.tolerance, part.weight) for part in recipe.reward.all_parts()] == [("numeric", 0.5, 1.0)]
    path.write_text(
        head
        + "reward: {parts: [{name: math, seconds_per_item: 2.0}, {name: format, weight: 0.1, layout: think_answer}]}"
    )
    recipe = load_recipe(path, ["reward.parts.1.weight=0.2"])
    assert [part.options() for part in recipe.reward.all_parts()] == [
        {"name": "math", "workers": 2, "seconds_per_item": 2.0, "memory_megabytes": 1024},
        {
            "name": "format",
            "workers": 2,
            "seconds_per_item": 1.0,
            "memory_megabytes": 1024,
            "layout": "think_answer",
            "pattern": None,
        },
    ]
    assert recipe.reward.name == "math" and [part.weight for part in recipe.reward.all_parts()] == [1.0, 0.2]
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe
    path.write_text(head + "reward: {name: code, partial: true, isolation: process, modules: [numpy]}\n")
    options = load_recipe(path).reward.options()
    assert options == {
        "name": "code",
        "workers": 2,
        "seconds_per_item": 2.0,
        "memory_megabytes": 1024,
        "partial": True,
        "isolation": "process",
        "modules": ["numpy"],
    }


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        ("{name: exact, tolerance: 0.1}", "reward.tolerance is not an option of exact: remove it"),
        ("{name: my.own:score, letters: AB}", "reward.letters is not an option of my.own:score: remove it"),
        ("{name: numeric, tolerance: -1}", "reward.tolerance: Input should be greater than or equal to 0"),
        ("{name: numeric, tolerence: 1}", "reward.tolerence is not an option of numeric; did you mean tolerance?"),
        ("{name: format}", "reward.needs layout or pattern"),
        ("{name: length, max_tokens: 8, cache_tokens: 2}", "name = length is a penalty"),
        ("{parts: []}", "reward.parts is empty"),
        ("{parts: [{name: exact}, {name: length, max_tokens: 8}]}", "reward.parts.1.cache_tokens is missing: add it"),
        ("{parts: [{name: exakt}]}", "reward.parts.0.name is 'exakt'; use one of exact"),
        ("{parts: [{name: exact, wieght: 2}]}", "parts.0.wieght is not an option of exact; did you mean weight?"),
        ("{name: numeric, tolerance: '1'}", "reward.tolerance: Input should be a valid number (got '1')"),
        (
            "{parts: [{name: exact}], name: numeric}",
            "name = numeric is given next to parts, the first of which is exact",
        ),
        ("{parts: [{name: numeric}], tolerance: 0.1}", "reward.tolerance is given next to parts: move it into a part"),
        ("{parts: [{name: exact}, {name: reasoning_gym}]}", "reward.name = reasoning_gym cannot score data.source"),
    ],
)
def test_rewards_that_do_not_fit(path: Path, reward: str, said: str) -> None:
    path.write_text(f"name: mine\ndata: {{source: dataset, path: rows.jsonl}}\nreward: {reward}\n")
    message = refusal(path)
    assert said in message and "\n" not in message


def test_instructions_have_no_answer_to_compare_with(path: Path) -> None:
    path.write_text("name: mine\ndata: {source: instructions}\nreward: {name: exact}\n")
    assert "reward.name = exact compares with an answer, and data.source = instructions has none" in refusal(path)
    path.write_text("name: mine\ndata: {source: instructions}\nreward: {name: constraints}\n")
    assert load_recipe(path).data.constraints == [1, 2]
