"""Build recipes, suites and experiments from settings; an error is one line: where, what, and how to fix it."""

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from r2vpo.config.known_keys import known_keys, unknown_key, without_items
from r2vpo.config.yaml_files import shown
from r2vpo.core.nearest import did_you_mean
from r2vpo.errors import UserError

Model = TypeVar("Model", bound=BaseModel)

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


def validated(
    model: type[Model],
    settings: dict[str, Any],
    *,
    source: str,
    overridden: Sequence[str] = (),
    flags: Mapping[str, str] | None = None,
) -> Model:
    """Build a model from settings.

    Args:
        model: what to build.
        settings: its values.
        source: the file that they come from.
        overridden: dotted keys that came from ``--set``.
        flags: dotted keys that came from other options of the command line, with the names of these.

    Raises:
        UserError: they do not fit the model. One line.
    """
    try:
        return model.model_validate(settings)
    except ValidationError as error:
        came_from = dict.fromkeys(overridden, "--set") | dict(flags or {})
        raise UserError(_line(error, model, source, settings, came_from)) from None


def _line(
    error: ValidationError, model: type[BaseModel], source: str, settings: dict[str, Any], came_from: Mapping[str, str]
) -> str:
    """Return the first problem as one line, and the number of further ones; an option is blamed for what it gave."""
    problems = error.errors(include_url=False)
    # an unknown key often causes the other problems, so it goes first
    problems.sort(key=lambda item: item["type"] not in _UNKNOWN)
    first = problems[0]
    key = ".".join(_plain_location(first["loc"], settings))
    if first["type"] in _UNKNOWN:
        # --set objectve.delta=1 made a new section: name the key as it was typed
        key = next((name for name in came_from if name.startswith(f"{key}.")), key)
    given = [name for name in came_from if (key and f"{key}.".startswith(f"{name}.")) or name.startswith(f"{key}.")]
    if given:
        where = came_from[given[0]]
    elif first["type"] == "value_error" and came_from:
        where = f"{source} with {', '.join(f'{flag} {name}' for name, flag in came_from.items())}"
    else:
        where = source
    line = f"{where}: {_what(first, key, model, settings)}"
    more = len(problems) - 1
    return f"{line} (and {more} more)" if more else line


def _plain_location(location: Sequence[str | int], settings: Any) -> list[str]:
    """Drop the tag that pydantic puts between a union and its keys: ``data.dataset.path`` is ``data.path``."""
    parts = [str(part) for part in location]
    data = settings.get("data") if isinstance(settings, dict) else None
    if len(parts) > 1 and parts[0] == "data" and isinstance(data, dict) and parts[1] == data.get("source"):
        del parts[1]
    return parts


def _what(problem: ErrorDetails, key: str, model: type[BaseModel], settings: dict[str, Any]) -> str:
    kind, value, context = problem["type"], problem.get("input"), problem.get("ctx", {})
    if kind in _UNKNOWN:
        data = settings.get("data")
        return unknown_key(key, model, data.get("source") if isinstance(data, dict) else None)
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
        return f"{key} is {shown(value)}; it must be {words} {context[name]:g}"
    if kind == "string_too_short":
        return f"{key} is empty: give a text"
    if kind == "too_short":
        found, least = context["actual_length"], context["min_length"]
        what = f"has {found} of at least {least} items" if found else "is empty"
        return f"{key} {what}: give {'one item' if least == 1 else f'{least} items'} or more"
    if kind == "string_pattern_mismatch":
        return f"{key} is {value!r}; use letters, digits, '.', '_' and '-', beginning with a letter or a digit"
    if kind == "value_error":
        message = str(context.get("error", problem["msg"]))
        if not key:
            return message
        # a validator of a section begins with the name of its key, one of a key with "is"
        return f"{key} {message}" if message.startswith("is ") else f"{key}.{message}"
    if kind in _EXPECTED:
        return f"{key} is {shown(value)}; it must be {_EXPECTED[kind]}{_keys_within(key, model)}"
    return f"{key}: {problem['msg'][0].lower()}{problem['msg'][1:]}"


def _keys_within(key: str, model: type[BaseModel]) -> str:
    """Return how to set a section that was given one value, such as ``objective=clip``; nothing for other keys."""
    inner = next((name for name in known_keys(model) if name.startswith(f"{without_items(key)}.")), None)
    return "" if inner is None else f": set its keys, such as {key}.{inner.rpartition('.')[2]}"


def _literals(expected: str) -> list[str]:
    return [part.strip().strip("'") for part in expected.replace(" or ", ", ").split(",")]


def _choice(key: str, value: Any, choices: Sequence[str]) -> str:
    given = repr(value) if isinstance(value, str) else shown(value)
    if len(choices) == 1:
        return f"{key} is {given}; the only choice is {choices[0]}"
    return f"{key} is {given}; choose one of {', '.join(choices)}{did_you_mean(str(value), choices)}"
