"""How an experiment's file is read."""

from pathlib import Path

from pydantic import ValidationError

from r2vpo.errors import UserError
from r2vpo.experiments.schema import Experiment
from r2vpo.training.recipe_errors import explain
from r2vpo.training.shipped import read_mapping


def load_experiment(path: Path) -> Experiment:
    """Read an experiment's file.

    Args:
        path: a YAML file.

    Returns:
        The experiment, with every default filled in.

    Raises:
        UserError: it cannot be read, or it is no experiment. One line.
    """
    settings = read_mapping(path, "experiment")
    try:
        return Experiment.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain(error, Experiment, source=str(path), settings=settings, overridden=())) from None
