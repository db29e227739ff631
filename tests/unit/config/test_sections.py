"""Optimizer and step control in a recipe: settings that contradict each other, and what the two rivals ask for."""

from pathlib import Path

import pytest

from r2vpo.config.recipe import dump_recipe, load_recipe
from tests.unit.training.recipes import refusal


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["step_control.first_scale=1e5"], ["first_scale = 100000 is outside"]),
        (["step_control.memory=1"], ["step_control.memory is 1"]),
        (["step_control.target_kl=0.02"], ["step_control.target_kl = 0.02 is not used with kind decision_variance"]),
        (["step_control.kind=kl", "step_control.memory=0.5"], ["step_control.memory = 0.5 is not used with kind kl"]),
        (["step_control.kind=kl", "step_control.grow=3"], ["step_control.grow = 3 is not used with kind kl: remove"]),
        (["step_control.kind=kl", "step_control.first_scale=1"], ["step_control.first_scale = 1 is not used"]),
        (
            ["step_control.kind=kl", "step_control.max_scale=0.5"],
            ["step_control.min_scale = 0.0001 and", "exclude 1"],
        ),
        (["step_control.kind=kl", "trainer.optimizer_steps_per_round=1"], ["there are none: set it to 2 or more"]),
        (["trainer.optimizer=prodigy"], ["finds its rate itself", "set step_control.enabled=false"]),
        (
            ["trainer.optimizer=prodigy", "trainer.learning_rate=2e-5", "step_control.enabled=false"],
            ["trainer.learning_rate = 2e-05 is too small for optimizer prodigy", "learning_rate=1"],
        ),
        (["trainer.warmup_steps=5"], ["constant_with_warmup"]),
    ],
)
def test_settings_that_contradict_each_other(path: Path, overrides: list[str], said: list[str]) -> None:
    message = refusal(path, *overrides)
    for part in said:
        assert part in message


def test_prodigy_has_the_factor_1_unless_another_is_given(path: Path) -> None:
    prodigy = ["trainer.optimizer=prodigy", "step_control.enabled=false"]
    recipe = load_recipe(path, prodigy)
    assert recipe.trainer.learning_rate == 1.0
    path.write_text(dump_recipe(recipe))
    assert load_recipe(path) == recipe
    assert load_recipe(path, [*prodigy, "trainer.learning_rate=0.5"]).trainer.learning_rate == 0.5


def test_the_kl_rule_wants_more_than_a_step_a_round_and_passes_are_steps(path: Path) -> None:
    one = ["step_control.kind=kl", "trainer.optimizer_steps_per_round=1"]
    assert load_recipe(path, [*one, "trainer.passes=2"]).step_control.kind == "kl"
    assert load_recipe(path, [*one, "step_control.enabled=false"]).step_control.target_kl is None
