"""``r2vpo rollouts``: what can be done with a store of rollouts; each action has its module."""

import argparse
from functools import partial
from typing import Any

from r2vpo.cli import (
    rollouts_check,
    rollouts_export,
    rollouts_import,
    rollouts_list,
    rollouts_prune,
    rollouts_rescore,
    rollouts_show,
    rollouts_stats,
)

ACTIONS = (
    rollouts_list,
    rollouts_show,
    rollouts_stats,
    rollouts_check,
    rollouts_export,
    rollouts_prune,
    rollouts_rescore,
    rollouts_import,
)


def add_group(commands: Any, shared: argparse.ArgumentParser) -> None:
    """Add the group to the commands.

    Args:
        commands: the subparsers of `r2vpo`.
        shared: a parser with the options that every command has.
    """
    group = commands.add_parser("rollouts", parents=[shared], help="see, export, prune and score a store of rollouts")
    kind: Any = partial(type(shared), parents=[shared])
    actions = group.add_subparsers(title="actions", metavar="ACTION", required=True, parser_class=kind)
    for action in ACTIONS:
        action.add_parser(actions)
