"""The trainer that is built from a recipe, and its part of a store."""

from __future__ import annotations

from pathlib import Path

import yaml

from r2vpo.config.recipe import Recipe
from r2vpo.training.setup import prepare, trainer_config
from r2vpo.training.trainer import _as_stored, build_trainer
from tests.integration.cli import RECIPE


def test_a_store_gives_no_answers_to_held_out_problems_whatever_examples_precede_them(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        yaml.safe_load(RECIPE.replace("1e-3", "1.0e-3"))
        | {"replay": {"versions": 2, "store": str(tmp_path / "store.db")}}
    )
    parts = prepare(recipe)
    trainer = build_trainer(recipe, trainer_config(recipe, tmp_path / "run"), parts, name="one")
    assert trainer.stored is not None and str(tmp_path / "store.db") in (trainer.stored.recipe or "")
    asked = trainer.stored.evaluated_on
    assert len(asked) == len(parts.data.held_out) and all("\n" not in question for question in asked)
    assert all(row.prompt.endswith("\n" + one) for row, one in zip(parts.data.held_out, asked, strict=True))


def test_a_stored_recipe_has_no_password() -> None:
    store = "postgresql://me:secret@host/db"
    recipe = Recipe.model_validate(yaml.safe_load(RECIPE.replace("1e-3", "1.0e-3")) | {"replay": {"store": store}})
    text = _as_stored(recipe)
    assert "store: postgresql://me:***@host/db" in text and "secret" not in text
    assert recipe.replay.store == store
