"""Settings by their dotted keys, such as ``data.mixture.0.weight``: read, written, removed and compared.

The ``key=value`` texts of every command and the keys that a comparison sets are applied here.
"""

from collections.abc import Iterator
from copy import copy
from typing import Any

from r2vpo.config.yaml_files import parse_yaml, shown
from r2vpo.errors import UserError

MISSING = object()
"""Returned for a key that the settings do not have."""


def override(settings: dict[str, Any], text: str, *, flag: str = "--set") -> str:
    """Apply one ``key=value`` text of a command line.

    Args:
        settings: changed in place.
        text: a dotted key and a YAML value.
        flag: the option that it comes from, for the error.

    Returns:
        The key.

    Raises:
        UserError: the text is not an override, or the key cannot be set.
    """
    key, equals, value = text.partition("=")
    key = key.strip()
    if not equals or not key:
        raise UserError(f"{flag} {text}: an override is key=value, for example --set seed=1")
    try:
        parsed = parse_yaml(value)
    except ValueError as error:
        raise UserError(f"{flag} {text[:200] if flag == '--set' else value[:200]}: the value is {error}") from None
    set_key(settings, key, parsed, where=flag)
    return key


def set_key(settings: dict[str, Any], key: str, value: Any, *, where: str) -> None:
    """Write a value at a dotted key; missing and null sections on the way are created.

    The sections on the way are copied: two keys may hold the same one, by an alias of YAML or after an earlier call.

    Args:
        settings: changed in place.
        key: the key; an item of a list is named by its number.
        value: the value.
        where: where the key was given, for the error.

    Raises:
        UserError: the key leads through a value that has no keys, or to an item that a list does not have.
    """
    node: Any = settings
    *parents, last = key.split(".")
    for depth, part in enumerate(parents):
        place = _place(node, part, key, depth, where)
        if isinstance(node, dict) and node.get(place) is None:
            node[place] = {}
        node[place] = node = copy(node[place])
    node[_place(node, last, key, len(parents), where)] = value


def get_key(settings: Any, key: str) -> Any:
    """Return the value at a dotted key, in which an item of a list is named by its number; `MISSING` without one."""
    for part in key.split("."):
        if isinstance(settings, list):
            settings = settings[int(part)] if _is_item(part, settings) else MISSING
        else:
            settings = settings.get(part, MISSING) if isinstance(settings, dict) else MISSING
    return settings


def remove_key(settings: dict[str, Any], key: str) -> None:
    """Remove a dotted key of a mapping if it is there; items of lists stay."""
    parent, _, last = key.rpartition(".")
    node = get_key(settings, parent) if parent else settings
    if isinstance(node, dict):
        node.pop(last, None)


def flatten(value: Any, prefix: str = "") -> dict[str, Any]:
    """Return all values by their dotted keys; empty lists and mappings are values."""
    return dict(_leaves(value, prefix))


def _leaves(value: Any, key: str) -> Iterator[tuple[str, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    if not items or not value:
        yield key, value
    for name, inner in items:
        yield from _leaves(inner, f"{key}.{name}" if key else str(name))


def _place(node: Any, part: str, key: str, depth: int, where: str) -> str | int:
    """Return the part of a key as a key of the mapping or an index of the list that it leads into."""
    if isinstance(node, dict):
        return part
    parent = ".".join(key.split(".")[:depth])
    if not isinstance(node, list):
        raise UserError(f"{where}: {key}: {parent} is {shown(node)} and has no keys: correct the key")
    if _is_item(part, node):
        return int(part)
    items = f"give a number from 0 to {len(node) - 1}" if node else f"it is empty, so set {parent} as a whole"
    raise UserError(f"{where}: {key}: {part!r} is not an item of the list {parent}: {items}")


def _is_item(part: str, items: list[Any]) -> bool:
    return part.isdecimal() and len(part) < 10 and int(part) < len(items)
