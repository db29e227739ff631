"""The arguments that several actions of ``r2vpo rollouts`` share, and what they select."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from r2vpo.config.numbers import NOTHING, duration
from r2vpo.optional import require_store

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from r2vpo.store import RolloutStore
    from r2vpo.store.asking import StoredRun

KEY_SHOWN = 8
"""Characters of a run's key in tables."""


def add_store(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the store."""
    parser.add_argument("--store", metavar="STORE", required=True, help="a file, or postgresql://user:password@host/db")


def add_runs(parser: argparse.ArgumentParser) -> None:
    """Add the options that select runs."""
    parser.add_argument("--run", metavar="NAME", dest="names", action="append", default=[], help="only this run; again")
    parser.add_argument("--tag", metavar="TAG", dest="tags", action="append", default=[], help="only with this tag")


def opened(arguments: argparse.Namespace, *, read_only: bool) -> RolloutStore:
    """Open the store that `--store` names.

    Args:
        arguments: Of the command.
        read_only: Whether the command only reads.

    Raises:
        UserError: it does not exist or cannot be opened, or a package is missing.
    """
    require_store("r2vpo rollouts")
    from r2vpo.store import RolloutStore

    return RolloutStore(arguments.store, create=False, read_only=read_only)


def selected(connection: Connection, arguments: argparse.Namespace) -> list[StoredRun]:
    """Return the runs that `--run` and `--tag` select, the oldest first.

    Raises:
        UserError: a name or tag is not in the store.
    """
    from r2vpo.store import asking
    from r2vpo.store.opening import shown

    return asking.select_runs(connection, names=arguments.names, tags=arguments.tags, place=shown(arguments.store))


def ago(moment: float) -> str:
    """Return how long ago a moment was, such as ``3 min 05 s`` or ``12 days``."""
    seconds = max(time.time() - moment, 0.0)
    return duration(seconds) if seconds < 2 * 86_400 else f"{seconds / 86_400:.0f} days"


def fraction(value: float | None) -> str:
    """Return a share as ``0.42``."""
    return NOTHING if value is None else f"{value:.2f}"
