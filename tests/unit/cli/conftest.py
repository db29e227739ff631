"""A recipe and a run of it, for the tests of the command line."""

from pathlib import Path

import pytest

from r2vpo.checkpoint_files import write_list
from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import RunDirectory, create_run
from tests.unit.cli.stored import two_runs

RECIPE = """\
# Teaches nothing; for tests
name: small
data: {source: reasoning_gym, mixture: [{family: chain_sum, difficulty: easy}]}
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    path.write_text(RECIPE)
    return path


@pytest.fixture
def run(tmp_path: Path, recipe: Path) -> RunDirectory:
    """A run of the recipe with a checkpoint at step 50."""
    started = create_run(load_recipe(recipe), tmp_path / "runs")
    checkpoint = started.checkpoints / "checkpoint-50"
    checkpoint.mkdir()
    write_list(checkpoint, name=checkpoint.name)
    return started


@pytest.fixture(scope="session")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the runs monday and tuesday, which a test leaves as it is."""
    return two_runs(tmp_path_factory.mktemp("runs"))
