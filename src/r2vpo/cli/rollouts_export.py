"""``r2vpo rollouts export``: the rollouts of a store as a Parquet file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from r2vpo.cli.counting import counting
from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_runs, add_store, opened, selected
from r2vpo.config.numbers import byte_size, count
from r2vpo.errors import UserError


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("export", help="write rollouts into a Parquet file, one row for each")
    add_store(parser)
    add_runs(parser)
    parser.add_argument("--to", metavar="FILE", required=True, help="a new file that ends in .parquet")
    parser.set_defaults(command="rollouts_export:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Write the file.

    Raises:
        UserError: its name cannot be used, or there is nothing to write.
    """
    path = Path(arguments.to)
    if path.suffix != ".parquet":
        raise UserError(f"--to {path}: name a new file that ends in .parquet")
    if path.exists():
        raise UserError(f"--to {path}: this exists already: remove it, or name a new file")
    if not path.parent.is_dir():
        raise UserError(f"--to {path}: there is no folder {path.parent}: create it first")
    store = opened(arguments, read_only=True)
    from r2vpo.store import parquet

    with store.reading() as connection:
        runs = selected(connection, arguments)
    with counting("rollouts written") as progress:
        rows = parquet.export(store, path, runs, progress=progress)
    print(f"{path}  {count(rows)} rollouts, {byte_size(path.stat().st_size)}")
