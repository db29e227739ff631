"""The recipes that come with the package, and what a RECIPE argument means."""

import difflib
from pathlib import Path

import r2vpo
from r2vpo.errors import UserError


def recipe_folder() -> Path | None:
    """The folder of recipes: inside the package when it is installed, beside ``src`` in a checkout."""
    package = Path(r2vpo.__file__).resolve().parent
    for folder in (package / "recipes", package.parents[1] / "recipes"):
        if folder.is_dir():
            return folder
    return None


def listed_recipes() -> dict[str, Path]:
    """Name and file of every recipe that can be used as it is."""
    folder = recipe_folder()
    return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}


def description(path: Path) -> str:
    """The text of a recipe's first line, if that is a comment."""
    with open(path, encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""


def find_recipe(argument: str) -> Path:
    """The file that a RECIPE argument means: a path, or a listed name.

    Raises:
        UserError: it is neither; the line names the nearest recipe.
    """
    path = Path(argument)
    if path.exists():
        return path
    listed = listed_recipes()
    if argument in listed:
        return listed[argument]
    in_folder = {entry.stem: entry for entry in sorted(path.parent.glob("*.y*ml"))} if path.parent.is_dir() else {}
    stem = path.stem if path.suffix in {".yaml", ".yml"} else path.name
    names = {**{name: name for name in listed}, **{name: str(file) for name, file in in_folder.items()}}
    close = difflib.get_close_matches(stem, names, n=1, cutoff=0.4)
    hint = f"; did you mean {names[close[0]]}?" if close else ": `r2vpo recipes` lists what can be used as it is"
    raise UserError(f"{argument}: no such recipe{hint}")
