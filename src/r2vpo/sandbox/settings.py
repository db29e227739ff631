"""Settings of a sandbox."""

from __future__ import annotations

from typing import Literal, NamedTuple

Isolation = Literal["bubblewrap", "process"]
Choice = Literal["auto", Isolation]
ISOLATIONS: tuple[Isolation, ...] = ("bubblewrap", "process")
"""The kinds of isolation that `auto` tries, strongest first."""
MEMORY_MEGABYTES = 1024
"""Usual limit for the address space of a process."""


class Settings(NamedTuple):
    """Settings of a sandbox.

    Attributes:
        isolation: `bubblewrap` or `process`.
        memory_bytes: limit for the address space of each process.
        modules: installed modules that are loaded in advance.
        own_root: whether the isolation `process` moves to its own namespaces and root, if the machine allows it;
            bubblewrap always does.
    """

    isolation: Isolation
    memory_bytes: int
    modules: tuple[str, ...] = ()
    own_root: bool = False


class Unusable(Exception):
    """Raised if a sandbox does not work here; the text says why."""
