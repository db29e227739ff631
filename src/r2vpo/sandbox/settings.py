"""What kind of sandbox there is to be."""

from __future__ import annotations

from typing import Literal, NamedTuple

Isolation = Literal["bubblewrap", "process"]
Choice = Literal["auto", "bubblewrap", "process"]
ISOLATIONS: tuple[Isolation, ...] = ("bubblewrap", "process")
"""Those of `auto`, the stronger first."""


class Settings(NamedTuple):
    """What kind of sandbox.

    Attributes:
        isolation: `bubblewrap` or `process`.
        memory_bytes: limit for the address space of each process.
        modules: installed modules that are loaded beforehand.
        own_root: whether the isolation `process` moves to namespaces and a root of its own, where the machine allows
            it; bubblewrap always does.
    """

    isolation: Isolation
    memory_bytes: int
    modules: tuple[str, ...] = ()
    own_root: bool = False


class Unusable(Exception):
    """A sandbox does not work here; the text says why."""
