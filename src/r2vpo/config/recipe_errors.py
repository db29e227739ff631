"""Turn the errors of a recipe into one line that says where, what, and how to fix it."""

import dataclasses
import reprlib
import types
import typing
from collections.abc import Iterator, Sequence
from typing import Any

import yaml
from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from r2vpo.core.declaration import Options
from r2vpo.errors import UserError
from r2vpo.nearest import did_you_mean, nearest

Model = typing.TypeVar("Model", bound=BaseModel)

_EXPECTED = {
    "float_type": "a number",
    "float_parsing": "a number",
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "bool_type": "true or false",
    "string_type": "a text",
    "list_type": "a list, such as [a, b]",
    "dict_type": "a mapping of keys to values",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "dataclass_type": "a mapping of keys to values",
    "finite_number": "a finite number",
}
# An unknown key of a model, and of a section that is a dataclass.
_UNKNOWN = ("extra_forbidden", "unexpected_keyword_argument")
_BOUNDS = {
    "greater_than": ("gt", "above"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "below"),
    "less_than_equal": ("le", "at most"),
}

# names that other libraries use for these settings
_OTHER_NAMES = {
    "lr": "trainer.learning_rate",
    "steps": "trainer.max_steps",
    "num_generations": "rollout.samples_per_prompt",
    "group_size": "rollout.samples_per_prompt",
    "max_completion_length": "rollout.max_new_tokens",
    "max_tokens": "rollout.max_new_tokens",
    "gradient_accumulation_steps": "trainer.micro_batches",
    "lr_scheduler_type": "trainer.lr_scheduler",
    "epsilon": "objective.options.clip_low",
    "epsilon_high": "objective.options.clip_high",
    "clip_low": "objective.options.clip_low",
    "clip_high": "objective.options.clip_high",
    "dual_clip": "objective.options.dual_clip",
    "lambda": "dual.value",
    "loss_type": "objective.aggregation",
}


_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 60


def parse_error(error: yaml.YAMLError) -> str:
    """Describe what YAML could not read, with line and column counted from 1."""
    mark = getattr(error, "problem_mark", None)
    problem = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    if mark is None:
        return f"not valid YAML: {problem}"
    return f"not valid YAML at line {mark.line + 1}, column {mark.column + 1}: {problem}"


def validated(model: type[Model], settings: dict[str, Any], *, source: str, overridden: Sequence[str] = ()) -> Model:
    """Build a model from settings.

    Args:
        model: what to build.
        settings: its values.
        source: the file that they come from.
        overridden: dotted keys that came from ``--set``.

    Raises:
        UserError: they do not fit the model. One line.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        raise UserError(explain(error, model, source=source, settings=settings, overridden=overridden)) from None


def explain(
    error: ValidationError,
    recipe: type[BaseModel],
    *,
    source: str,
    settings: dict[str, Any],
    overridden: Sequence[str],
) -> str:
    """Return the first problem of a validation error as one line, and the number of further problems.

    Args:
        error: what pydantic found.
        recipe: the model that was built.
        source: the file, named at the beginning of the line.
        settings: what was validated.
        overridden: dotted keys that came from ``--set``; the file is not to blame for problems there.
    """
    problems = error.errors(include_url=False)
    # an unknown key often causes the other problems, so it goes first
    problems.sort(key=lambda item: item["type"] not in _UNKNOWN)
    first = problems[0]
    key = ".".join(_plain_location(first["loc"], settings))
    if first["type"] in _UNKNOWN:
        # --set objectve.delta=1 made a new section: name the key as it was typed
        key = next((name for name in overridden if name.startswith(f"{key}.")), key)
    if any(key == name or key.startswith(f"{name}.") or name.startswith(f"{key}.") for name in overridden if key):
        where = "--set"
    elif first["type"] == "value_error" and overridden:
        where = f"{source} with --set {', '.join(overridden)}"
    else:
        where = source
    line = f"{where}: {_what(first, key, recipe, settings)}"
    more = len(problems) - 1
    return f"{line} (and {more} more)" if more else line


def _plain_location(location: Sequence[str | int], settings: Any) -> list[str]:
    """Drop the tag that pydantic puts between a union and its keys: ``data.dataset.path`` is ``data.path``."""
    parts = [str(part) for part in location]
    data = settings.get("data") if isinstance(settings, dict) else None
    if len(parts) > 1 and parts[0] == "data" and isinstance(data, dict) and parts[1] == data.get("source"):
        del parts[1]
    return parts


def _what(problem: ErrorDetails, key: str, recipe: type[BaseModel], settings: dict[str, Any]) -> str:
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind in _UNKNOWN:
        return _unknown(key, recipe, settings)
    if kind == "missing":
        return f"{key} is missing: add it"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        known = str(context.get("expected_tags", "reasoning_gym, dataset, habit, instructions")).replace("'", "")
        given = "missing" if kind == "union_tag_not_found" else repr(context.get("tag"))
        return f"{key}.source is {given}; choose one of {known}"
    if kind == "literal_error":
        return _choice(key, value, _literals(str(context["expected"])))
    if kind in _BOUNDS:
        name, words = _BOUNDS[kind]
        return f"{key} is {_shown(value)}; it must be {words} {context[name]:g}"
    if kind in ("string_too_short", "too_short"):
        return f"{key} is empty: give {'one item or more' if kind == 'too_short' else 'a text'}"
    if kind == "string_pattern_mismatch":
        return f"{key} is {value!r}; use letters, digits, '.', '_' and '-', beginning with a letter or a digit"
    if kind == "value_error":
        message = str(context.get("error", problem["msg"]))
        if not key:
            return message
        # a validator of a section begins with the name of its key, one of a key with "is"
        return f"{key} {message}" if message.startswith("is ") else f"{key}.{message}"
    if kind in _EXPECTED:
        return f"{key} is {_shown(value)}; it must be {_EXPECTED[kind]}"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _shown(value: Any) -> str:
    if value is None:
        return "empty"
    if isinstance(value, bool):
        return str(value).lower()
    # repr of a value whose parts refer to each other by anchors may never end.
    text = _SHORT.repr(value)
    return f"the text {text}" if isinstance(value, str) else text


def _literals(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]


def _choice(key: str, value: Any, choices: Sequence[str]) -> str:
    given = repr(value) if isinstance(value, str) else _shown(value)
    if len(choices) == 1:
        return f"{key} is {given}; the only choice is {choices[0]}"
    return f"{key} is {given}; choose one of {', '.join(choices)}{did_you_mean(str(value), choices)}"


def _unknown(key: str, recipe: type[BaseModel], settings: dict[str, Any]) -> str:
    source = settings["data"].get("source") if isinstance(settings.get("data"), dict) else None
    # list items have no names: data.mixture.0.famly is compared as data.mixture.famly
    named = ".".join(part for part in key.split(".") if not part.isdecimal())
    if named in set(known_keys(recipe)):
        return f"{key} is not used with data.source = {source}: remove it"
    close = _nearest(named, list(dict.fromkeys(known_keys(recipe, source))))
    if not close:
        return f"unknown key {key}: remove it, or see the keys in a run's config.yaml"
    parent, _, last = close.rpartition(".")
    if parent and parent == named.rpartition(".")[0]:
        close = f"{key.rpartition('.')[0]}.{last}"
    return f"unknown key {key}; did you mean {close}?"


def _nearest(key: str, known: Sequence[str]) -> str | None:
    """Return the key that a user most likely meant: the same word elsewhere, then the nearest word, siblings first."""
    parent, _, last = key.rpartition(".")
    if last in _OTHER_NAMES:
        return _OTHER_NAMES[last]
    known = [name for name in known if not key.startswith(f"{name}.")]
    same_word = [name for name in known if name.rpartition(".")[2] == last]
    if same_word:
        return nearest(key, same_word) or same_word[0]
    siblings = [name for name in known if name.rpartition(".")[0] == parent]
    for names in (siblings, known):
        words = {name.rpartition(".")[2]: name for name in reversed(names)}
        if close := nearest(last, words):
            return words[close]
    return None


def known_keys(model: Any, source: str | None = None, prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of all keys of a model, sections included; only of one data source if it is given."""
    for name, annotation in _keys(model).items():
        key = f"{prefix}{name}"
        yield key
        for inner in _sections(annotation):
            tags = typing.get_args(_keys(inner).get("source"))
            if source is None or not tags or source in tags:
                yield from known_keys(inner, source, f"{key}.")


def _keys(section: Any) -> dict[str, Any]:
    """Return the types of a section's keys, by name."""
    if issubclass(section, BaseModel):
        return {field.alias or name: field.annotation for name, field in section.model_fields.items()}
    hints = typing.get_type_hints(section)
    return {field.name: hints[field.name] for field in dataclasses.fields(section)}


def _sections(annotation: Any) -> Iterator[type]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        if issubclass(annotation, BaseModel | Options):
            yield annotation
        return
    for inner in typing.get_args(annotation):
        yield from _sections(inner)
