"""The names under which trackers show a run, and that transformers' callbacks look for them where they are put."""

from __future__ import annotations

import inspect
import os
from pathlib import Path

import pytest
from transformers.integrations import integration_utils

from r2vpo.config.run_directory import create_run
from r2vpo.training.trackers import NAME, PROJECT, PROJECT_OF, name_run
from r2vpo.trl import R2VPOConfig
from tests.unit.report.synthetic_run import synthetic_recipe


@pytest.fixture(autouse=True)
def unset(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*PROJECT_OF.values(), NAME, "TENSORBOARD_LOGGING_DIR"):
        monkeypatch.setenv(variable, "")  # so that it is put back afterwards
        monkeypatch.delenv(variable)


def test_a_run_is_shown_as_its_folder_in_the_project_r2vpo(tmp_path: Path) -> None:
    run = create_run(synthetic_recipe(), tmp_path)
    config = R2VPOConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    config.report_to = ["wandb", "trackio"]
    name_run(config, run)
    assert (config.run_name, config.project) == (run.path.name, PROJECT)
    assert os.environ["WANDB_PROJECT"] == PROJECT and "MLFLOW_EXPERIMENT_NAME" not in os.environ
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == str(run.tensorboard)


def test_what_is_set_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_PROJECT", "mine")
    monkeypatch.setenv(NAME, "first")
    config = R2VPOConfig(output_dir=str(tmp_path), report_to=[], use_cpu=True)
    config.report_to = ["wandb"]
    name_run(config, create_run(synthetic_recipe(), tmp_path))
    assert (config.run_name, os.environ["WANDB_PROJECT"]) == ("first", "mine")


@pytest.mark.parametrize("tracker", [*PROJECT_OF, "trackio"])
def test_the_callbacks_look_there(tracker: str) -> None:
    source = inspect.getsource(integration_utils.INTEGRATION_TO_CALLBACK[tracker])
    assert (PROJECT_OF.get(tracker) or "args.project") in source
    assert "args.run_name" in source or tracker == "clearml"
