"""What tells two versions of a reward apart: its options, or the source of a function that is not r2vpo's."""

from __future__ import annotations

import functools
import hashlib
import inspect
import json
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

OPTIONS = "reward_options"
"""The attribute of a function from `load_reward` that holds its options as JSON."""

DEPTH = 4
"""Values inside values are read so far; a function may refer to itself."""


def reward_version(functions: Sequence[Any], names: Sequence[str], weights: Sequence[float]) -> str:
    """Return 32 hexadecimal digits that change with the functions, their options and their weights.

    Args:
        functions: Reward functions, models that score, or anything with `OPTIONS`.
        names: Their names.
        weights: Their weights.
    """
    # The trainer's weights are float32.
    parts = zip(map(_source, functions), names, (f"{weight:.6g}" for weight in weights), strict=True)
    return hashlib.blake2b(json.dumps(list(parts)).encode(), digest_size=16).hexdigest()


def describe_reward(names: Sequence[str], weights: Sequence[float]) -> str:
    """Return a reward in words, such as `math + 0.1 format`."""
    return " + ".join(
        name if weight == 1 else f"{weight:g} {name}" for name, weight in zip(names, weights, strict=True)
    )


def _source(function: Any, depth: int = DEPTH) -> str:
    """Return what decides the scores of a function, as far as it can be read; its name if it cannot."""
    if hasattr(function, OPTIONS):
        return str(getattr(function, OPTIONS))
    name = getattr(getattr(function, "config", None), "_name_or_path", None)
    if name is not None:  # a model that scores
        return str(name)
    if isinstance(function, functools.partial):
        given = (*function.args, *sorted(function.keywords.items()))
        return json.dumps([_source(function.func, depth), _plain(given, depth)])
    whole = inspect.unwrap(function) if inspect.isroutine(function) else type(function)
    try:
        text = inspect.getsource(whole)
    except (OSError, TypeError):
        text = f"{getattr(whole, '__module__', '')}:{getattr(whole, '__qualname__', whole)}"
    values = _values(whole if inspect.isroutine(function) else function)
    known = {name: _plain(value, depth) for name, value in values.items()}
    return json.dumps([text, known], sort_keys=True) if known else text


def _values(function: Any) -> dict[str, Any]:
    """Return what the same source may compute with: of an object its attributes, of a function what surrounds it."""
    if not inspect.isroutine(function):
        return dict(getattr(function, "__dict__", {}))
    owner = getattr(function, "__self__", None)
    found = {} if owner is None or inspect.ismodule(owner) else _values(owner)
    plain = getattr(function, "__func__", function)
    names = getattr(getattr(plain, "__code__", None), "co_freevars", ())
    for name, cell in zip(names, getattr(plain, "__closure__", None) or (), strict=True):
        with suppress(ValueError):  # it has no value yet
            found[name] = cell.cell_contents
    return found


def _plain(value: Any, depth: int) -> Any:
    """Return a value as JSON has it; only the type of what may change with each call, such as a cache."""
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if depth > 0:
        if isinstance(value, tuple):
            return [_plain(one, depth - 1) for one in value]
        if isinstance(value, frozenset):
            return sorted(json.dumps(_plain(one, depth - 1)) for one in value)
        if isinstance(value, re.Pattern):
            return [value.pattern, value.flags]
        if inspect.isfunction(value):
            return _source(value, depth - 1)
    return type(value).__qualname__
