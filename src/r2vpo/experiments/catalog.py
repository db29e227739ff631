"""The experiments that come with the package, and how an experiment's file is read."""

import difflib
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

import r2vpo
from r2vpo.errors import UserError
from r2vpo.experiments.schema import Experiment
from r2vpo.training.recipe_errors import explain, parse_error
from r2vpo.training.recipe_yaml import RecipeLoader


def experiment_folder() -> Path | None:
    """The folder of experiments: inside the package when it is installed, beside ``src`` in a checkout."""
    package = Path(r2vpo.__file__).resolve().parent
    for folder in (package / "experiments" / "shipped", package.parents[1] / "experiments"):
        if folder.is_dir():
            return folder
    return None


def listed_experiments() -> dict[str, Path]:
    """Name and file of every experiment that can be run as it is."""
    folder = experiment_folder()
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def find_experiment(argument: str) -> Path:
    """The file that an EXPERIMENT argument means: a path, or a listed name.

    Raises:
        UserError: it is neither; the line names the nearest.
    """
    path, listed = Path(argument), listed_experiments()
    if path.is_file():
        return path
    if argument in listed:
        return listed[argument]
    close = difflib.get_close_matches(path.stem, listed, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ": `r2vpo compare --list` lists what can be run as it is"
    raise UserError(f"{argument}: no such experiment{hint}")


def load_experiment(path: Path) -> Experiment:
    """Read an experiment's file.

    Args:
        path: a YAML file.

    Returns:
        The experiment, with every default filled in.

    Raises:
        UserError: it cannot be read, or it is no experiment. One line.
    """
    try:
        settings: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=RecipeLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8 (byte {error.start}): give a YAML experiment") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a YAML experiment that can be read") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {parse_error(error)}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: an experiment is a mapping of keys to values: start it with `name: my-comparison`")
    try:
        return Experiment.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain(error, Experiment, source=str(path), settings=settings, overridden=())) from None
