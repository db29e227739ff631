"""Prodigy: its settings, where it is refused, and what its state takes."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from prodigyopt import Prodigy

from r2vpo.config.recipe import Recipe, load_recipe
from r2vpo.errors import UserError
from r2vpo.planning.plan import settings_of
from r2vpo.training.optimizers import check_optimizer, own_optimizer
from tests.integration.cli import RECIPE


@pytest.fixture
def recipe(tmp_path: Path) -> Recipe:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE.replace("  learning_rate: 1e-3\n", ""))
    return load_recipe(path, ["trainer.optimizer=prodigy", "step_control.enabled=false"])


def test_it_has_its_authors_settings(recipe: Recipe) -> None:
    settings = {"lr": 1.0, "use_bias_correction": True, "safeguard_warmup": False}
    assert own_optimizer(recipe) == (Prodigy, settings)
    warm = recipe.trainer.model_copy(update={"warmup_steps": 3, "lr_scheduler": "constant_with_warmup"})
    assert own_optimizer(recipe.model_copy(update={"trainer": warm})) == (
        Prodigy,
        settings | {"safeguard_warmup": True},
    )
    plain = recipe.trainer.model_copy(update={"optimizer": "sgd"})
    assert own_optimizer(recipe.model_copy(update={"trainer": plain})) is None


@pytest.mark.parametrize(
    ("variable", "said"), [("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")]
)
def test_weights_that_are_divided_are_refused(
    recipe: Recipe, monkeypatch: pytest.MonkeyPatch, variable: str, said: str
) -> None:
    check_optimizer(recipe)
    monkeypatch.setenv(variable, "true")
    with pytest.raises(UserError, match=f"one rate for all weights, and {said} shards the weights over processes: set"):
        check_optimizer(recipe)
    plain = recipe.trainer.model_copy(update={"optimizer": "adamw"})
    check_optimizer(recipe.model_copy(update={"trainer": plain}))


def test_without_its_package_a_line_says_so(recipe: Recipe, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prodigyopt", None)
    with pytest.raises(UserError, match=r"needs prodigyopt, which is not installed: pip install 'r2vpo\[prodigy\]'"):
        check_optimizer(recipe)


def test_the_plan_knows_the_size_of_its_state(recipe: Recipe) -> None:
    weight = torch.nn.Parameter(torch.randn(50, 20))
    weight.grad = torch.randn(50, 20)
    kind, options = own_optimizer(recipe) or (None, {})
    optimizer = kind([weight], **options)
    optimizer.step()
    held = sum(value.nbytes for value in optimizer.state[weight].values() if torch.is_tensor(value))
    assert held / weight.numel() == settings_of(recipe, on_cpu=True, device_memory=0.0).optimizer
