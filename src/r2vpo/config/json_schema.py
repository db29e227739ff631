"""JSON schema of a section, for editors: what pydantic knows, and what r2vpo's own declarations and checks add."""

from __future__ import annotations

import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema

from r2vpo.core.declaration import Options, key_of
from r2vpo.core.method_options import LOSS_OF
from r2vpo.core.objectives import OBJECTIVES, own_options
from r2vpo.rewards.registry import REWARDS, options_class

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_BOUNDS = {"above": "exclusiveMinimum", "at_least": "minimum", "below": "exclusiveMaximum", "at_most": "maximum"}
_OWN_REWARD = r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$"
Schema = dict[str, Any]


def json_schema(section: type[BaseModel], *, title: str) -> Schema:
    """Return the schema of a file that holds a section.

    Args:
        section: the section.
        title: what such a file is called.
    """
    made = section.model_json_schema(by_alias=True, schema_generator=_Generator)
    definitions = made.get("$defs", {})
    for options in _subclasses(Options):
        if options.__name__ in definitions:
            _declare(options, definitions[options.__name__])
            _allow_first_option_alone(options, definitions[options.__name__])
    if "ObjectiveOptions" in definitions:
        _objectives(definitions["ObjectiveOptions"])
    for name in ("RewardRecipe", "RewardPart"):
        if name in definitions:
            _rewards(definitions[name])
    for definition in definitions.values():
        source = definition.get("properties", {}).get("source")
        if source is not None:
            source.pop("default", None)  # the class has it; a recipe has to name it
            definition["required"] = ["source", *definition.get("required", [])]
    for schema in [made, *definitions.values()]:
        _tidy(schema)
    return {"$schema": DIALECT, **made, "title": title}


class _Generator(GenerateJsonSchema):
    """A list that takes a single item without brackets (`OneOrMore`) takes it in the schema too."""

    def function_before_schema(self, schema: Any) -> Schema:
        """Return the schema of a list, or of one item of it."""
        made = super().function_before_schema(schema)
        return {"anyOf": [made["items"], made]} if made.get("type") == "array" and "items" in made else made


def _subclasses(base: type[Options]) -> Iterator[type[Options]]:
    for one in base.__subclasses__():
        yield one
        yield from _subclasses(one)


def _declare(options: type[Options], definition: Schema) -> None:
    """Add the help texts and bounds of a section of the core."""
    for field in dataclasses.fields(options):
        schema = definition["properties"].get(key_of(field))
        if schema is None:
            continue
        schema["description"] = field.metadata["help"]
        bounds = {_BOUNDS[name]: field.metadata[name] for name in _BOUNDS if name in field.metadata}
        for part in schema.get("anyOf", [schema]):
            if part.get("type") in ("number", "integer"):
                part |= bounds


def _allow_first_option_alone(options: type[Options], definition: Schema) -> None:
    """Allow the value of the first option in place of a section of the core, as in ``dual: ascent``."""
    first = dataclasses.fields(options)[0].name
    # What else the definition says is about objects, and holds for nothing else.
    definition["anyOf"] = [{"type": definition.pop("type")}, {"$ref": f"#/$defs/{options.__name__}/properties/{first}"}]


def _objectives(definition: Schema) -> None:
    """Allow each objective only its own options, and the names of methods that are understood as an objective."""
    definition["allOf"] = []
    for name, objective in OBJECTIVES.items():
        whole = json_schema_of_options(objective.config_class)
        own = {option: whole[option] for option in own_options(name)}
        named: Schema = {"anyOf": [{"const": name}, *_methods(name)]}
        chosen: Schema = {"properties": {"name": named}}
        if name != definition["properties"]["name"]["default"]:
            chosen["required"] = ["name"]
        then = {"properties": {"options": {"properties": own, "additionalProperties": False}}}
        definition["allOf"].append({"if": chosen, "then": then})
    named = definition["properties"]["name"]
    named["anyOf"] = [{"enum": named.pop("enum")}, *(one for name in OBJECTIVES for one in _methods(name))]


def _methods(objective: str) -> list[Schema]:
    """Return the schemas of the names of methods, in capitals or not, that are understood as an objective."""
    names = [method for method, meant in LOSS_OF.items() if meant == objective]
    either = ["".join(f"[{letter.upper()}{letter}]" for letter in name) for name in names]
    return [{"pattern": f"^({'|'.join(either)})$"}] if names else []


def json_schema_of_options(options: type[Options]) -> Schema:
    """Return the schema of each field of a section of the core, by its name."""
    from pydantic import TypeAdapter

    made = TypeAdapter(options).json_schema()
    definition = made["$defs"][options.__name__] if "$ref" in made else made
    _declare(options, definition)
    return {name: _without_title(schema) for name, schema in definition["properties"].items()}


def _rewards(definition: Schema) -> None:
    """A reward has the options of its class; null stands for an option's default."""
    shared = list(definition["properties"])
    default = definition["properties"]["name"].pop("default")
    definition["properties"]["name"]["anyOf"] = [{"enum": list(REWARDS)}, {"pattern": _OWN_REWARD}]
    own = {"if": {"properties": {"name": {"pattern": _OWN_REWARD}}, "required": ["name"]}}
    definition["allOf"] = [own | {"then": _reward("module:function", shared)}]
    for name in REWARDS:
        chosen = {"properties": {"name": {"const": name}}, "required": ["name"]}
        definition["allOf"].append({"if": chosen, "then": _reward(name, shared)})
    neither = {"not": {"anyOf": [{"required": ["name"]}, {"required": ["parts"]}]}}
    definition["allOf"].append({"if": neither, "then": _reward(default, shared)})


def _reward(name: str, shared: list[str]) -> Schema:
    options = options_class(name)
    made = options.model_json_schema()["properties"]
    help_texts = dict(re.findall(r"^    (\w+): (.*(?:\n {8}.*)*)", inspect.getdoc(options) or "", re.MULTILINE))
    allowed: Schema = {key: True for key in shared}
    for key, schema in made.items():
        if key in shared:
            continue
        allowed[key] = {"anyOf": [_without_title(schema), {"type": "null"}]}
        if key in help_texts:
            allowed[key]["description"] = " ".join(help_texts[key].split())
    return {"properties": allowed, "additionalProperties": False}


def _without_title(schema: Schema) -> Schema:
    return {key: value for key, value in schema.items() if key not in ("title", "study")}


def _tidy(schema: Schema) -> None:
    """Drop pydantic's titles, which repeat the key, and the mark of what only studies need."""
    for key, part in schema.get("properties", {}).items():
        if isinstance(part, dict):
            schema["properties"][key] = _without_title(part)
