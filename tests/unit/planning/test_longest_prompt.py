"""The length of a recipe's longest prompt is that of a run."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.data.prompt_tokens import prompt_lengths
from r2vpo.planning import Options, make_plan
from r2vpo.planning.longest_prompt import DEFAULT, prompt_tokens_of
from r2vpo.training.setup import prepare

RECIPE = """\
name: measured
model: {name: tiny/random-llama}
data: {source: dataset, path: own.jsonl, held_out_size: 1}
reward: {name: exact}
rollout: {prompts_per_round: 2, samples_per_prompt: 2, max_new_tokens: 4}
trainer: {device: cpu, max_steps: 1, optimizer_steps_per_round: 1}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("recipe.yaml").write_text(RECIPE)
    rows = [{"prompt": "word " * (1 + i), "answer": str(i)} for i in range(6)]
    Path("own.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def trained_on(recipe: Recipe) -> int:
    """The longest of the prompts that a run of the recipe gives to the model."""
    parts = prepare(recipe)
    return max(prompt_lengths([row.prompt for row in (*parts.data.train, *parts.data.held_out)], parts.tokenizer))


@pytest.mark.parametrize("format", ["auto", "text", "chat"])
def test_prompts_are_counted_as_the_run_gives_them(format: str) -> None:
    recipe = load_recipe("recipe.yaml", [f"data.format={format}"])
    longest = trained_on(recipe)
    assert prompt_tokens_of(recipe) == (longest, "the recipe's longest, as the model is given it")
    assert (longest > 20) == (format != "text"), "the chat template makes it longer"


def test_a_plan_is_made_for_the_measured_prompts() -> None:
    recipe = load_recipe("recipe.yaml")
    plan = make_plan(recipe, Options())
    assert plan.shapes.prompt_tokens == trained_on(recipe)
    assert plan.assumptions[0].endswith(" tokens (the recipe's longest, as the model is given it)")
    assert make_plan(recipe, Options(prompt_tokens=7)).assumptions[0] == "prompts of 7 tokens (--prompt-tokens)"


def test_longer_prompts_are_left_out_as_in_a_run() -> None:
    recipe = load_recipe("recipe.yaml", ["data.format=text", "data.max_prompt_tokens=4"])
    found, why = prompt_tokens_of(recipe)
    assert found <= 4 and why == "the longest that data.max_prompt_tokens keeps"


@pytest.mark.parametrize("change", ["data.path=owner/elsewhere", "model.name=owner/not-here"])
def test_what_is_not_on_this_machine_is_not_measured(change: str) -> None:
    assert prompt_tokens_of(load_recipe("recipe.yaml", [change])) == (DEFAULT, "assumed, set --prompt-tokens")
    bound = load_recipe("recipe.yaml", [change, "data.max_prompt_tokens=99"])
    assert prompt_tokens_of(bound) == (99, "data.max_prompt_tokens")


def test_made_prompts_are_measured_too() -> None:
    made = ["data={source: instructions, train_size: 8, held_out_size: 4}", "reward.name=constraints"]
    recipe = load_recipe("recipe.yaml", made)
    assert prompt_tokens_of(recipe)[0] == trained_on(recipe)
