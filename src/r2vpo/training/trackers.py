"""The names that trackers show: the run's folder and the project ``r2vpo``, unless their variables set others."""

from __future__ import annotations

import os

from transformers import TrainingArguments

from r2vpo.config.run_directory import RunDirectory

PROJECT = "r2vpo"
PROJECT_OF = {
    "wandb": "WANDB_PROJECT",
    "mlflow": "MLFLOW_EXPERIMENT_NAME",
    "comet_ml": "COMET_PROJECT_NAME",
    "clearml": "CLEARML_PROJECT",
    "swanlab": "SWANLAB_PROJECT",
}
"""The variables in which transformers' callbacks look for the project; Trackio's takes it from the config."""
NAME = "WANDB_NAME"


def name_run(config: TrainingArguments, run: RunDirectory) -> None:
    """Set the names that trackers show.

    Args:
        config: the trainer's, changed in place.
        run: the folder of the run, in which TensorBoard's files are written.
    """
    config.project, config.run_name = PROJECT, os.environ.get(NAME) or run.path.name
    for tracker, variable in PROJECT_OF.items():
        if tracker in (config.report_to or ()):
            os.environ.setdefault(variable, PROJECT)
    os.environ["TENSORBOARD_LOGGING_DIR"] = str(run.tensorboard)
