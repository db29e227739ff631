"""Recipes of `trainer.kind: dpo`: what contradicts it is refused in one line, and older files mean what they meant."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from r2vpo.config.recipe import load_recipe
from tests.unit.training.recipes import refusal

PAIRS = """\
name: pairs
data: {source: habit, pairs: true}
reward: {name: exact}
trainer: {kind: dpo}
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    (tmp_path / "pairs.yaml").write_text(PAIRS)
    return tmp_path / "pairs.yaml"


def test_a_round_is_counted_in_pairs(path: Path) -> None:
    recipe = load_recipe(path, ["rollout.prompts_per_round=32", "trainer.micro_batches=4"])
    assert recipe.is_offline and (recipe.rows_per_round, recipe.steps_per_round) == (64, 4)
    assert [recipe.micro_batch(processes) for processes in (1, 2, 3)] == [2, 1, None]
    assert load_recipe(path, ["replay.versions=0"]).is_offline, "none is what it has"
    online = load_recipe(path, ["data.pairs=false", "rollout.samples_per_prompt=4"])
    assert not online.is_offline and (online.rows_per_round, online.micro_batch(2)) == (64, 2)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("replay.versions=2", "replay is about training on rewards, and trainer.kind = dpo trains on preferences"),
        ("objective.delta=0.1", "objective is about training on rewards, .* set dpo.loss, dpo.link, dpo.delta"),
        ("advantage.name=rloo", "advantage is about training on rewards"),
        ("critic=true", "critic is about training on rewards"),
        ("curriculum.enabled=true", "curriculum is about training on rewards"),
        ("rollout.temperature=0.5", "rollout.temperature = 0.5, and trainer.kind = dpo trains on pairs that are given"),
        ("rollout.samples_per_prompt=4", "rollout.samples_per_prompt = 4, .* trains on pairs that are given: remove"),
        ("rollout.sampler=trl", "rollout.sampler = trl, and trainer.kind = dpo does not have this setting: remove it"),
        ("trainer.passes=2", "trainer.passes = 2, and trainer.kind = dpo does not have this setting"),
        ("trainer.micro_batches=3", "an optimizer step has 4 pairs, .* trainer.micro_batches=2 or 4"),
        ("trainer.kind=r2vpo", "data.pairs = true, and trainer.kind = r2vpo trains on rewards: set trainer.kind=dpo"),
        ("dpo.loss=hinge", "dpo.loss"),
        ("dpo.betta=1", "unknown key dpo.betta; did you mean dpo.beta"),
    ],
)
def test_settings_without_a_meaning_are_refused(path: Path, override: str, said: str) -> None:
    assert re.search(said, refusal(path, override))


def test_contradictions_are_refused(path: Path) -> None:
    assert "set dpo.loss=sigmoid, or dpo.link=kl" in refusal(path, "dpo.link=chi_po", "dpo.loss=ipo")
    rewards = ("data.pairs=false", "trainer.kind=r2vpo", "dpo.beta=1")
    assert "dpo is for preferences, and trainer.kind = r2vpo trains on rewards" in refusal(path, *rewards)
    path.write_text(PAIRS.replace("{source: habit, pairs: true}", "{source: preferences, path: pairs.jsonl}"))
    assert "problems that are set aside from pairs have none: name problems to evaluate on" in refusal(path)
    assert "data.source = preferences has pairs" in refusal(path, "trainer.kind=r2vpo", "reward.name=constraints")
    load_recipe(path, ["data.held_out_path=problems.jsonl"])


def test_the_config_of_an_older_run_has_no_such_section(tmp_path: Path) -> None:
    """It is still recognised as complete: without data.format it meant plain texts."""
    new = load_recipe("quickstart").model_dump(mode="json")
    new["data"] = {"source": "dataset", "path": ["a.jsonl"]}
    new["reward"] = {"name": "exact"}
    old = {key: value for key, value in new.items() if key != "dpo"}
    old["trainer"] = {key: value for key, value in old["trainer"].items() if key != "kind"}
    (tmp_path / "config.yaml").write_text(yaml.dump(old))
    recipe = load_recipe(tmp_path / "config.yaml")
    assert (recipe.data.format, recipe.trainer.kind) == ("text", "r2vpo")  # type: ignore[union-attr]
