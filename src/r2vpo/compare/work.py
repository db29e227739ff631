"""What a comparison's executor, store and display know of a cell, whatever it runs."""

from pathlib import Path
from typing import Any, Protocol

from r2vpo.config.records import Record


class Work(Protocol):
    """One cell of a comparison.

    Attributes:
        kind: ``tuning`` or ``result``.
        method: the method's key.
        setting: what distinguishes it from the method's other cells, besides the seed; None if nothing does.
        seed: its seed.
        key: the identity of what it runs; equal keys mean equal runs.
        steps: how much there is to do, in the unit of its record's ``optimizer_steps``.
    """

    @property
    def kind(self) -> str: ...  # noqa: D102

    @property
    def method(self) -> str: ...  # noqa: D102

    @property
    def setting(self) -> Any: ...  # noqa: D102

    @property
    def seed(self) -> int: ...  # noqa: D102

    @property
    def key(self) -> str: ...  # noqa: D102

    @property
    def steps(self) -> int: ...  # noqa: D102

    def task(self, threads: int) -> dict[str, Any]:
        """Return what a worker is asked to run, as JSON."""

    def outcome(self, record: Record) -> str:
        """Return a finished record's result in a few words."""


def folder_of(out: Path, cell: Work) -> Path:
    """Return the folder of a cell's run while it is unfinished."""
    return out / "cells" / cell.key
