"""Rollouts, tokens, operations and what reuse saves, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from r2vpo.config.recipe import load_recipe
from r2vpo.planning.architecture import read_architecture
from r2vpo.planning.work import Speed, work_of


def test_work_by_hand(path: Path) -> None:
    recipe = load_recipe(path, ["evaluation.every_rounds=4"])
    model = read_architecture(recipe)
    work = work_of(model, recipe, prompt_tokens=100, response_tokens=200.0)
    # 40 steps of 4 a round; 256 rows a round, and as many stale ones from the second round on.
    assert (work.rounds, work.rollouts, work.rows_trained) == (10, 2560, 2560 + 9 * 256)
    assert work.rollouts_without_reuse == 4864 and work.reuse_saves == pytest.approx(1 - 2560 / 4864)
    assert work.tokens_generated == 2560 * 200 and work.tokens_trained == 4864 * 200
    # Before, after rounds 4 and 8, and after the last; 40 problems each.
    assert work.tokens_evaluated == 4 * 40 * 200
    token = 2 * (6_525_288_448 + 152_064 * 3584) + 4 * 28 * 3584 * 200
    assert work.generation_flops == pytest.approx(2560 * (200 + 100 / 8) * token)
    assert work.training_flops == pytest.approx(4864 * (200 + 100 / 8) * token * 4)
    hours = work.hours(Speed(1e15, 0.5, 0.1), 8)
    assert hours["generating"] == pytest.approx(work.generation_flops / (8 * 1e15 * 0.1 * 3600))
    assert hours["training"] == pytest.approx(work.training_flops / (8 * 1e15 * 0.5 * 3600))


@pytest.mark.parametrize(
    ("overrides", "passes"),
    [
        ([], 4),
        (["trainer.gradient_checkpointing=true"], 5),
        (["trainer.passes=2"], 7),
        (["model.lora.r=8"], 3),
    ],
)
def test_what_a_token_of_training_costs(path: Path, overrides: list[str], passes: int) -> None:
    recipe = load_recipe(path, ["replay.versions=0", *overrides])
    model = read_architecture(recipe)
    work = work_of(model, recipe, prompt_tokens=80, response_tokens=160.0)
    generated = work.generation_flops / (160 + 80 / 8)
    prompt = 80 if recipe.trainer.gradient_checkpointing else 80 / 8
    # The rounds are fewer with two passes, and the rollouts with them.
    assert work.training_flops / (160 + prompt) == pytest.approx(passes * generated)
    assert work.reuse_saves == 0
