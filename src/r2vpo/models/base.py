"""What is known about a model that another one was trained from: its names, its licence and how to get it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from r2vpo.models.catalog import catalog
from r2vpo.models.folders import GGUF
from r2vpo.models.gguf_file import licence_in


@dataclass(frozen=True)
class Base:
    """A model that another one was trained from.

    Attributes:
        name: what a recipe calls it.
        hub: its name on the hub, or None.
        licence: SPDX name or the hub's name of the licence, or None if it is not known.
        about: where it comes from, in words; empty for a name on the hub.
    """

    name: str
    hub: str | None
    licence: str | None
    about: str


def describe_base(name: str) -> Base:
    """Return what is known about a model without loading it or asking the hub.

    Args:
        name: any name that `resolve_model` takes.
    """
    for entry in catalog():
        if entry.name == name:
            return Base(name, entry.hub, entry.licence.lower(), f"{entry.description}; {entry.source}")
    path = Path(name).expanduser()
    if path.suffix == GGUF and path.is_file():
        return Base(path.name, None, licence_in(path), "a GGUF file")
    # Names on the hub have at most one slash and do not start like a path.
    if path.is_dir() or name.count("/") > 1 or name.startswith((".", "/", "~")):
        licence = _licence_of_card(path / "README.md")
        return Base(path.absolute().name, None, licence, "a folder on the machine that trained it")
    from huggingface_hub import try_to_load_from_cache

    card = try_to_load_from_cache(name, "README.md")
    return Base(name, name, _licence_of_card(Path(card)) if isinstance(card, str) else None, "")


def _licence_of_card(path: Path) -> str | None:
    """Return the licence in a model card's front matter, if it has one that can be read."""
    import yaml
    from huggingface_hub import ModelCard

    try:
        found = ModelCard.load(path).data.license
    except (OSError, ValueError, TypeError, yaml.YAMLError):  # anybody may have written it
        return None
    return found if isinstance(found, str) else None
