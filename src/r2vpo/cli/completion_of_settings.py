"""What the word after ``--set`` may become: a key, section by section, and a value where the values are known."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable

from r2vpo.config.known_keys import key_choices
from r2vpo.models.catalog import catalog
from r2vpo.rewards.registry import REWARDS

_CHOICES: dict[str, Callable[[], Iterable[str]]] = {
    "model.name": lambda: (entry.name for entry in catalog()),
    "reward.name": lambda: REWARDS,
    "reward.parts.0.name": lambda: REWARDS,
}
"""Names that a setting takes beside others, which its type therefore does not list."""


def settings(command: str, current: str) -> list[str]:
    """Return what an incomplete setting may begin with: ``dual.``, then ``dual.kind=``, then ``dual.kind=ascent``.

    Args:
        command: the function of the command, as in `r2vpo.cli.arguments`.
        current: what was typed.
    """
    choices = key_choices(_section(command))
    key, equals, _ = current.partition("=")
    named = re.sub(r"\.\d+(?=\.)", ".0", key)
    if equals:
        values = _CHOICES[named]() if named in _CHOICES else choices.get(named, ())
        return [f"{key}={value}" for value in values if " " not in value]
    typed, section = (text[: text.rfind(".") + 1] for text in (key, named))
    parts = (one.removeprefix(section).partition(".") for one in choices if one.startswith(section))
    return list(dict.fromkeys(f"{typed}{name}{dot or '='}" for name, dot, _ in parts))


def _section(command: str) -> type:
    """Return the section whose keys a command sets."""
    if command == "evaluate:evaluate":
        from r2vpo.evaluation.schema import Suite

        return Suite
    if command == "openrlhf:openrlhf":
        from r2vpo.integrations.openrlhf.options import OpenRLHFOptions

        return OpenRLHFOptions
    from r2vpo.config.recipe import Recipe

    return Recipe
