"""The suites that come with the package, and how a suite's file is read."""

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

import r2vpo
from r2vpo.errors import UserError
from r2vpo.suites.schema import Suite
from r2vpo.training.recipe import override
from r2vpo.training.recipe_errors import explain, parse_error
from r2vpo.training.recipe_yaml import RecipeLoader

Model = TypeVar("Model", bound=BaseModel)


def suite_folder() -> Path | None:
    """The folder of suites: inside the package when it is installed, beside ``src`` in a checkout."""
    package = Path(r2vpo.__file__).resolve().parent
    for folder in (package / "suites" / "shipped", package.parents[1] / "suites"):
        if folder.is_dir():
            return folder
    return None


def listed_suites() -> dict[str, Path]:
    """Name and file of every suite that can be run as it is."""
    folder = suite_folder()
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def find_suite(argument: str) -> Path:
    """The file that a suite's name means: a path, or a listed name.

    Raises:
        UserError: it is neither; the line names the nearest.
    """
    path, listed = Path(argument), listed_suites()
    if path.is_file():
        return path
    if argument in listed:
        return listed[argument]
    close = difflib.get_close_matches(path.stem, listed, n=1, cutoff=0.4)
    hint = f"; did you mean {close[0]}?" if close else ": `r2vpo eval --list` lists what can be run as it is"
    raise UserError(f"{argument}: no such suite{hint}")


def load_suite(path: Path, overrides: Sequence[str] = ()) -> Suite:
    """Read a suite's file and apply overrides.

    Args:
        path: a YAML file.
        overrides: ``key=value`` texts, the key dotted, such as ``sampling.k=8``.

    Returns:
        The suite, with every default filled in.

    Raises:
        UserError: it cannot be read, or it is no suite. One line.
    """
    settings = read_mapping(path, "suite")
    overridden = [override(settings, text) for text in overrides]
    return validated(Suite, settings, source=str(path), overridden=overridden)


def read_mapping(path: Path, kind: str) -> dict[str, Any]:
    """Read a YAML file that holds keys and values.

    Args:
        path: the file.
        kind: what it is, for the error.

    Raises:
        UserError: it cannot be read. One line.
    """
    try:
        settings: Any = yaml.load(path.read_text(encoding="utf-8"), Loader=RecipeLoader)
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not a text file in UTF-8 (byte {error.start}): give a YAML {kind}") from None
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}: give a YAML {kind} that can be read") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path}: {parse_error(error)}") from None
    if not isinstance(settings, dict):
        raise UserError(f"{path}: a {kind} is a mapping of keys to values: start it with `name: my-{kind}`")
    return settings


def validated(model: type[Model], settings: dict[str, Any], *, source: str, overridden: Sequence[str] = ()) -> Model:
    """Build a model from settings, or say what is wrong with them in one line."""
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain(error, model, source=source, settings=settings, overridden=overridden)) from None
