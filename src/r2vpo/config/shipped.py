"""Find the YAML files that come with the package: recipes, experiments and suites."""

from dataclasses import dataclass
from pathlib import Path

from r2vpo.core.nearest import did_you_mean
from r2vpo.errors import UserError


@dataclass(frozen=True)
class Shipped:
    """One kind of shipped YAML file.

    Attributes:
        kind: what such a file is called.
        folder_name: name of their folder in ``recipes``.
        listing: the command that lists them.
    """

    kind: str
    folder_name: str
    listing: str

    def folder(self) -> Path | None:
        """Return their folder, or None if they are not installed."""
        package = Path(__file__).resolve().parents[1]
        # In an installed package, or next to src in a checkout.
        for parent in (package, package.parents[1]):
            folder = parent / "recipes" / self.folder_name
            if folder.is_dir():
                return folder
        return None

    def listed(self) -> dict[str, Path]:
        """Return the name and path of each file that can be used unchanged."""
        folder = self.folder()
        return {path.stem: path for path in sorted(folder.glob("*.yaml"))} if folder else {}

    def find(self, argument: str) -> Path:
        """Return the file that a command-line argument refers to: a path, or a listed name.

        Raises:
            UserError: it is neither; the message suggests the nearest name, listed or in the given folder.
        """
        path, listed = Path(argument), self.listed()
        if path.exists():
            return path
        if argument in listed:
            return listed[argument]
        if not path.parent.is_dir():
            raise UserError(f"{argument}: no such {self.kind}: the folder {path.parent} does not exist")
        names = {name: name for name in listed} | {file.stem: str(file) for file in sorted(path.parent.glob("*.y*ml"))}
        stem = path.stem if path.suffix in {".yaml", ".yml"} else path.name
        hint = did_you_mean(stem, names, f": `{self.listing}` lists what can be used as it is", show=names.__getitem__)
        is_path = path.suffix in {".yaml", ".yml"} or path.name != argument
        raise UserError(f"{argument}: no such {'file' if is_path else self.kind}{hint}")

    def described(self) -> list[str]:
        """Return a line for each file: its name, and the description on its first line.

        Raises:
            UserError: none are installed.
        """
        listed = self.listed()
        if not listed:
            raise UserError(
                f"no {self.kind}s are installed: install the package again, or give the path of a {self.kind}"
            )
        width = max(map(len, listed))
        return [f"{name:<{width}}  {description(path)}" for name, path in listed.items()]


RECIPES = Shipped("recipe", "train", "r2vpo recipes")
EXPERIMENTS = Shipped("experiment", "compare", "r2vpo compare --list")
SUITES = Shipped("suite", "eval", "r2vpo eval --list")
ACCELERATE = Shipped("configuration of accelerate", "accelerate", "r2vpo train --help")


def description(path: Path) -> str:
    """Return the text of a file's first line if it is a comment."""
    with open(path, encoding="utf-8") as file:
        first = file.readline().strip()
    return first.lstrip("# ").rstrip() if first.startswith("#") else ""
