"""Write docs/reference/recipe.md, every setting of a recipe, from where the settings are declared."""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import annotated_types
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from r2vpo.config.recipe import Recipe
from r2vpo.core.declaration import BOUNDS, Options
from r2vpo.core.objectives import OBJECTIVES, own_options

FILE = Path(__file__).parents[1] / "docs" / "reference" / "recipe.md"
HEAD = """# Settings of a recipe

Written by `python scripts/reference.py` from the declarations in `r2vpo.core.options` and `r2vpo.training`; a test
compares them. A setting is written `section.setting` on a command line, as in
`r2vpo train quickstart --set trainer.max_steps=50`. In Python, `R2VPOConfig` takes the sections `objective`, `dual`,
`step_control`, `replay`, `advantage` and `curriculum` under the same names.
"""
_PYDANTIC = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below", "min_length": "length at least"}


def reference() -> str:
    """The text of the file."""
    parts = [HEAD, *_section("", Recipe, "A whole recipe.")]
    parts.append("\n## Options of the objectives: `objective.options`\n\n")
    parts.append("| objective | option | default | values | meaning |\n|---|---|---|---|---|\n")
    for name, objective in OBJECTIVES.items():
        own = own_options(name)
        rows = {row[0]: row for row in _rows(objective.config_class)}
        parts += [f"| `{name}` | `{option}` | {' | '.join(rows[option][1:4])} |\n" for option in own]
    return "".join(parts)


def _section(name: str, section: Any, description: str) -> Iterator[str]:
    """A table, and those of the sections within."""
    inner: list[tuple[str, Any, str]] = []
    title = f"`{name}`" if name else "At the top"
    yield f"\n## {title}\n\n{description[:1].upper()}{description[1:].rstrip('.')}.\n\n"
    yield "| setting | default | values | meaning |\n|---|---|---|---|\n"
    for key, default, values, meaning, found in _rows(section):
        path = f"{name}.{key}" if name else key
        if found and name == "" and len(found) == 1:
            inner.append((path, found[0], meaning))
            continue
        inner += [(path, one, f"{meaning}, with `{_source(one)}`" if len(found) > 1 else meaning) for one in found]
        yield f"| `{path}` | {default} | {values} | {meaning} |\n"
    for path, one, meaning in inner:
        yield from _section(path, one, meaning)


def _source(section: Any) -> str:
    """How a member of a union of sections is chosen."""
    return f"source: {', '.join(typing.get_args(section.model_fields['source'].annotation))}"


def _rows(section: Any) -> Iterator[tuple[str, str, str, str, list[Any]]]:
    """Key, default, values, meaning and sections within, of each setting."""
    if issubclass(section, BaseModel):
        for name, field in section.model_fields.items():
            default = field.get_default(call_default_factory=True)
            bounds = [f"{_PYDANTIC[key]} {_shown(bound)}" for key, bound in _pydantic_bounds(field.metadata)]
            yield _row(field.alias or name, default, field.annotation, bounds, field.description or "")
        return
    hints = typing.get_type_hints(section)
    for field in dataclasses.fields(section):
        made = field.default_factory() if field.default is dataclasses.MISSING else field.default  # type: ignore[misc]
        bounds = [f"{BOUNDS[key]} {_shown(field.metadata[key])}" for key in BOUNDS if key in field.metadata]
        yield _row(field.name, made, hints[field.name], bounds, field.metadata["help"])


def _pydantic_bounds(metadata: list[Any]) -> Iterator[tuple[str, float]]:
    for item in metadata:
        if isinstance(item, annotated_types.Ge | annotated_types.Gt | annotated_types.Le | annotated_types.Lt):
            key = type(item).__name__.lower()
            yield key, getattr(item, key)
        elif isinstance(item, annotated_types.MinLen):
            yield "min_length", item.min_length


def _row(name: str, default: Any, hint: Any, bounds: list[str], meaning: str) -> tuple[str, str, str, str, list[Any]]:
    shown = "required" if default is PydanticUndefined else _shown(default)
    values = ", ".join([*_types(hint), *bounds]).replace("|", "\\|")
    return name, shown, values, meaning.replace("|", "\\|"), list(_inner(hint))


def _shown(value: Any) -> str:
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, BaseModel | Options):
        return "see below"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, str):
        return f"`{value}`".replace("\n", "\\n")
    return str(value) if isinstance(value, int) else f"`{value!r}`".replace("'", "")


_NAMES = {bool: "true or false", int: "whole number", float: "number", str: "text", dict: "mapping", list: "list"}


def _types(hint: Any) -> Iterator[str]:
    origin = typing.get_origin(hint)
    if origin is Literal:
        yield ", ".join(f"`{value}`" for value in typing.get_args(hint))
    elif hint is type(None):
        yield "null"
    elif (origin or hint) in _NAMES:
        yield _NAMES[origin or hint]
    elif isinstance(hint, type) and issubclass(hint, BaseModel | Options):
        yield "section"
    else:
        yield from dict.fromkeys(text for inner in typing.get_args(hint) for text in _types(inner))


def _inner(hint: Any) -> Iterator[Any]:
    if isinstance(hint, type) and not typing.get_args(hint):
        if issubclass(hint, BaseModel | Options):
            yield hint
        return
    for part in typing.get_args(hint):
        yield from _inner(part)


if __name__ == "__main__":
    FILE.parent.mkdir(exist_ok=True)
    FILE.write_text(reference(), encoding="utf-8")
    print(FILE)
