"""The settings of a run as rows of text, each with its default and its meaning."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from r2vpo.config.overrides import flatten
from r2vpo.config.recipe import Recipe, differing_keys
from r2vpo.core.declaration import key_of


def settings(recipe: Recipe) -> list[dict[str, Any]]:
    """Return every setting: `key`, `value`, `default` (null if it has none), whether it is `set`, and its `help`.

    Those that differ from their defaults come first; a setting without a default counts as different.
    """
    return sorted(_rows(recipe, ""), key=lambda row: not row["set"])


def _rows(section: Any, prefix: str) -> Iterator[dict[str, Any]]:
    for name, value, default, about in _fields(section):
        key = f"{prefix}{name}"
        if _is_section(value):
            yield from _rows(value, f"{key}.")
            continue
        known = default is not PydanticUndefined
        shown, usual = _leaves(value), _leaves(default) if known else {}
        for place, text in shown.items():
            yield {
                "key": f"{key}.{place}" if place else key,
                "value": text,
                "default": usual.get(place) if known else None,
                "set": not known or value != default,
                "help": about,
            }


def _fields(section: Any) -> Iterator[tuple[str, Any, Any, str]]:
    """Return name, value, default and meaning of each field."""
    if isinstance(section, BaseModel):
        for name, field in type(section).model_fields.items():
            # Python knows the source by the class, but a recipe has to name it.
            default = PydanticUndefined if name == "source" else field.get_default(call_default_factory=True)
            yield field.alias or name, getattr(section, name), default, field.description or ""
        return
    for one in dataclasses.fields(section):
        default = one.default if one.default_factory is dataclasses.MISSING else one.default_factory()
        undefined = default is dataclasses.MISSING
        yield (
            key_of(one),
            getattr(section, one.name),
            PydanticUndefined if undefined else default,
            one.metadata.get("help", ""),
        )


def _is_section(value: Any) -> bool:
    return isinstance(value, BaseModel) or (dataclasses.is_dataclass(value) and not isinstance(value, type))


def _leaves(value: Any) -> dict[str, str]:
    """Return a value as text; an item of a list of sections is one row with all its values."""
    if isinstance(value, list | tuple) and any(_is_section(item) or isinstance(item, dict) for item in value):
        items = [item.model_dump(mode="json") if isinstance(item, BaseModel) else item for item in value]
        return {
            str(number): ", ".join(f"{name} {_text(inner)}" for name, inner in flatten(item).items())
            for number, item in enumerate(items)
        }
    if isinstance(value, dict) and value:
        return {name: _text(inner) for name, inner in flatten(value).items()}
    return {"": _text(value)}


def _text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(repr, value)) or "none"
    if value is None or isinstance(value, bool):
        return {None: "–", True: "yes", False: "no"}[value]
    return f"{value:g}" if isinstance(value, float) else repr(value) if value == "" else str(value)


def differences(recipes: Sequence[Recipe]) -> list[tuple[str, list[str]]]:
    """Return the settings in which runs differ, each with the value of every run; names and seeds are included."""
    keys = dict.fromkeys(key for recipe in recipes[1:] for key in differing_keys(recipes[0], recipe))
    dumped = [flatten(recipe.model_dump(mode="json")) for recipe in recipes]
    return [(key, [_text(values[key]) if key in values else "–" for values in dumped]) for key in keys]
