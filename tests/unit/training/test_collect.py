"""What a sampler does when the policy that it wants has been replaced, or its store is not there."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import save_file

from r2vpo.config.recipe import Recipe
from r2vpo.errors import UserError
from r2vpo.training.collect import Sampling, _load
from tests.integration.cli import RECIPE
from tests.tiny import tiny_model


class Trainer:
    """The parts of a trainer that weights are loaded into."""

    own_rollout = None

    def __init__(self) -> None:
        self.accelerator, self.model = self, tiny_model()

    def unwrap_model(self, model: torch.nn.Module) -> torch.nn.Module:
        return model


def test_a_policy_that_was_removed_meanwhile_is_not_one_of_another_model(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        _load(Trainer(), tmp_path / "gone")
    save_file({"another": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(UserError, match="weights of another model"):
        _load(Trainer(), tmp_path)


def test_a_mistyped_store_is_refused_and_not_made(tmp_path: Path) -> None:
    of_run = tmp_path / "store.db"
    settings = yaml.safe_load(RECIPE.replace("1e-3", "1.0e-3")) | {"replay": {"versions": 2, "store": str(of_run)}}
    with pytest.raises(UserError, match=r"typo\.db: there is no such file"):
        Sampling(Recipe.model_validate(settings), str(tmp_path / "typo.db"), tmp_path, seed=0, say=print)
    assert not list(tmp_path.iterdir())
