"""``r2vpo record``: a proxy before a server, which records what passes."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path
from typing import Any

from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_import import add_options
from r2vpo.cli.rollouts_selection import add_store
from r2vpo.cli.values import above_zero, port
from r2vpo.errors import UserError
from r2vpo.optional import require_store


def add_parser(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the command to those of `r2vpo`.

    Args:
        commands: the subparsers of `r2vpo`.
        shared: a parser with the options that every command has.
    """
    command = commands.add_parser("record", parents=[shared], help="a proxy before a server, which records its answers")
    command.add_argument("--upstream", metavar="URL", required=True, help="the server, such as http://127.0.0.1:8000")
    add_store(command)
    command.add_argument(
        "--host", metavar="HOST", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)"
    )
    command.add_argument("--port", metavar="P", type=port, default=8399, help="0 takes a free one (default: 8399)")
    command.add_argument(
        "--ask", action="store_true", help="make requests ask for token ids and log-probs, which clients then get too"
    )
    command.add_argument("--spool", metavar="DIR", help="folder of the recorded logs (default: the store's name.spool)")
    command.add_argument(
        "--import-seconds",
        metavar="N",
        type=above_zero,
        default=300.0,
        help="seconds from one import into the store to the next (default: 300)",
    )
    add_options(command)
    command.set_defaults(command="record:record")


def record(arguments: argparse.Namespace, session: Session) -> None:
    """Record until SIGTERM or Ctrl-C.

    Raises:
        UserError: the address of the server or of the proxy cannot be used.
    """
    require_store("r2vpo record")
    from r2vpo.cli.rollouts_import import reward_of
    from r2vpo.http_terms import url_problem
    from r2vpo.models.catalog import resolve_model
    from r2vpo.recording.serving import Recording, serve

    problem = url_problem(arguments.upstream)
    if problem is not None:
        raise UserError(f"--upstream {arguments.upstream}: {problem}: write http://host:port")
    if arguments.spool is None and "://" in arguments.store:
        raise UserError("--store is a database, which has no folder: name one for the recorded logs with --spool")
    # What would be wrong in the first import is wrong now.
    reward_of(arguments)
    resolve_model(arguments.model)
    recording = Recording(
        upstream=arguments.upstream,
        host=arguments.host,
        port=arguments.port,
        spool=Path(arguments.spool or f"{arguments.store}.spool"),
        ask=arguments.ask,
        import_options=_import_options(arguments),
        import_seconds=arguments.import_seconds,
    )
    asyncio.run(serve(recording, lambda text: print(text, flush=True)))


def _import_options(arguments: argparse.Namespace) -> list[str]:
    """Return the options that `r2vpo rollouts import` has too, as they were given."""
    names = ("store", "model", "reward", "reward_function", "log_probs_of", "sampling_defaults", "version_column")
    given = {name: getattr(arguments, name) for name in names} | {"name": arguments.name or Path(arguments.store).stem}
    options = [f"--{name.replace('_', '-')}={value}" for name, value in given.items() if value is not None]
    for name in ("columns", "tags"):
        if values := getattr(arguments, name):
            options += [f"--{name}", *values]
    return options
