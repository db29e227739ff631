"""``r2vpo rollouts list``: the runs of a store."""

from __future__ import annotations

import argparse
import json
from typing import Any

from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import KEY_SHOWN, add_runs, add_store, ago, opened, selected
from r2vpo.cli.table import table
from r2vpo.config.numbers import byte_size, count


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("list", help="the runs in a store, with what each has left there")
    add_store(parser)
    add_runs(parser)
    parser.add_argument("--json", action="store_true", help="print it as JSON")
    parser.set_defaults(command="rollouts_list:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Print the runs."""
    store = opened(arguments, read_only=True)
    from r2vpo.store import asking

    with store.reading() as connection:
        runs = selected(connection, arguments)
        versions = asking.versions_in(connection, [one.id for one in runs])
    amounts = {one.id: asking.total(entry for entry in versions if entry.run == one.id) for one in runs}
    if arguments.json:
        entries = [
            {name: value for name, value in one._asdict().items() if name not in ("id", "sees")} | vars(amounts[one.id])
            for one in runs
        ]
        print(json.dumps(entries, indent=2))
        return
    if not runs:
        print("no runs")
        return
    rows = [("run", "key", "kind", "model", "tags", "versions", "rollouts", "tokens", "size", "started", "uses")]
    for one in runs:
        amount = amounts[one.id]
        rows.append(
            (
                one.name,
                one.key[:KEY_SHOWN],
                one.kind,
                one.model,
                ",".join(one.tags),
                count(amount.versions),
                count(amount.rollouts),
                count(amount.tokens),
                byte_size(amount.bytes),
                f"{ago(one.started)} ago",
                count(amount.uses),
            )
        )
    print(table(rows))
