"""What tells two versions of a reward apart: its options, or the source of a function that is not r2vpo's."""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Sequence
from typing import Any

OPTIONS = "reward_options"
"""The attribute of a function from `load_reward` that holds its options as JSON."""


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


def _source(function: Any) -> str:
    """Return what decides the scores of a function, as far as it can be read; its name if it cannot."""
    if hasattr(function, OPTIONS):
        return str(getattr(function, OPTIONS))
    name = getattr(getattr(function, "config", None), "_name_or_path", None)
    if name is not None:  # a model that scores
        return str(name)
    whole = function if inspect.isroutine(function) else type(function)
    try:
        return inspect.getsource(inspect.unwrap(whole))
    except (OSError, TypeError):
        return f"{getattr(whole, '__module__', '')}:{getattr(whole, '__qualname__', whole)}"
