"""``r2vpo rollouts prune``: remove rollouts from a store, and give the space back to the disk."""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING, Any

from r2vpo.cli.confirm import confirmed
from r2vpo.cli.counting import counting
from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_runs, add_store, ago, opened, selected
from r2vpo.cli.values import memory, positive
from r2vpo.config.numbers import byte_size, count
from r2vpo.errors import UserError

if TYPE_CHECKING:
    from r2vpo.store.pruning import Plan


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("prune", help="remove rollouts that are old or too many, and free the disk space")
    add_store(parser)
    add_runs(parser)
    parser.add_argument("--older-than", metavar="AGE", help="only what was sampled before: 30d, 12h, or a date")
    parser.add_argument(
        "--keep-versions", metavar="N", type=positive, help="but the last N policy versions of each run"
    )
    parser.add_argument(
        "--max-size", metavar="SIZE", type=memory, help="only the oldest, until the store has this size: 10GB"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what would be removed")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(command="rollouts_prune:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Say what would be removed, ask, and remove it.

    Raises:
        UserError: nothing says what may be removed, or the age is neither an age nor a date.
    """
    now = time.time()
    if not any((arguments.names, arguments.tags, arguments.older_than, arguments.keep_versions, arguments.max_size)):
        raise UserError(
            "rollouts prune: say what may be removed with --older-than, --keep-versions, --max-size, --run or --tag"
        )
    store = opened(arguments, read_only=arguments.dry_run)
    from r2vpo.core.replay_options import moment
    from r2vpo.store import asking, pruning
    from r2vpo.store.opening import shown

    place, oldest = shown(arguments.store), None
    if arguments.older_than is not None:
        try:
            oldest = moment(arguments.older_than, now=now, name="--older-than")
        except ValueError as error:
            raise UserError(str(error)) from None

    def planned() -> Plan:
        with store.reading() as connection:
            runs = selected(connection, arguments)
            wanted = pruning.Wanted(runs, oldest, arguments.keep_versions, arguments.max_size)
            return pruning.plan_removal(connection, wanted, now=now)

    plan = planned()
    if not plan.groups:
        print(f"{place}: nothing to remove")
        return
    _describe(plan)
    if arguments.dry_run or not confirmed("remove them?", yes=arguments.yes):
        return
    with counting("groups removed") as progress:
        pruning.remove(store, plan, now=now, progress=progress)
        while arguments.max_size is not None and (plan := planned()).groups:  # the first plan estimated sizes
            pruning.remove(store, plan, now=now, progress=progress)
    with store.reading() as connection:
        print(f"removed; {place} has {byte_size(asking.size_on_disk(connection))} now")


def _describe(plan: Plan) -> None:
    total, by_run = sum(plan.rollouts.values()), sorted(plan.rollouts.items())
    listed = ", ".join(f"{count(rows)} of {name}" for name, rows in by_run)
    print(f"{count(total)} rollouts in {count(len(plan.groups))} groups, about {byte_size(plan.bytes)}: {listed}")
    if plan.drawn:
        print(
            f"other runs have drawn {count(plan.drawn)} of these groups: what they measured stays, but which groups "
            "they drew is forgotten, so such a run cannot be resumed from an earlier checkpoint with the same numbers"
        )
    for one in plan.drawn_by:
        print(f"warning: {one.name} (started {ago(one.started)} ago) may be at work and draw from these")
