"""``r2vpo rollouts check``: whether a store is whole, and removal of what cannot be read."""

from __future__ import annotations

import argparse
from typing import Any

from r2vpo.cli.confirm import confirmed
from r2vpo.cli.counting import counting
from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_store, opened
from r2vpo.config.numbers import count
from r2vpo.optional import require_store

DAMAGED = 1


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("check", help="read the whole store and report damage; exit code 1 if there is any")
    add_store(parser)
    parser.add_argument("--repair", action="store_true", help="remove the groups that cannot be read, after asking")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    parser.set_defaults(command="rollouts_check:run")


def run(arguments: argparse.Namespace, session: Session) -> int:
    """Print what is wrong.

    Returns:
        Exit code: 1 if something is damaged and still there, else 0.
    """
    require_store("r2vpo rollouts")
    from r2vpo.store.checking import check_store, remove_groups
    from r2vpo.store.damaged import DamagedStore
    from r2vpo.store.opening import shown

    place = shown(arguments.store)
    try:
        store = opened(arguments, read_only=not arguments.repair)
        with counting("groups read") as progress:
            found = check_store(store, progress=progress)
    except DamagedStore as error:  # so much that nothing can be read
        print(error)
        return DAMAGED
    for kind, (times, first) in found.problems.items():
        print(f"{count(times)} {kind}; the first: {first}")
    if found.unused_prompts:
        print(f"{count(found.unused_prompts)} prompts without a group, which do no harm: prune removes them")
    if not found.problems:
        print(f"{place}: intact, {count(found.groups)} groups")
        return 0
    if not found.groups:
        print("the groups were not read: restore a copy of the file, or recover what is left with sqlite3's .recover")
        return DAMAGED
    if arguments.repair and found.unreadable:
        question = f"remove {count(len(found.unreadable))} groups that cannot be read from {place}?"
        if confirmed(question, yes=arguments.yes):
            remove_groups(store, found.unreadable)
            print(f"removed {count(len(found.unreadable))} groups")
            return DAMAGED if len(found.problems) > 1 else 0
    elif found.unreadable:
        print("--repair removes the groups that cannot be read")
    return DAMAGED
