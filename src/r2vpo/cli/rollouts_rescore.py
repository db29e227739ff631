"""``r2vpo rollouts rescore``: another reward on rollouts that are in a store already."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, Any

from r2vpo.cli.counting import counting
from r2vpo.cli.failures import Session
from r2vpo.cli.rollouts_selection import add_runs, add_store, opened, selected
from r2vpo.config.numbers import count
from r2vpo.errors import UserError

if TYPE_CHECKING:
    from r2vpo.config.reward import RewardRecipe


def add_parser(actions: Any) -> None:
    """Add the action."""
    parser = actions.add_parser("rescore", help="score stored rollouts with another reward, for runs with that reward")
    add_store(parser)
    add_runs(parser)
    parser.add_argument("--recipe", metavar="RECIPE", help="score as runs of this recipe do")
    parser.add_argument(
        "--set", metavar="KEY=VALUE", dest="overrides", nargs="+", action="extend", default=[], help="of the recipe"
    )
    parser.add_argument("--reward", metavar="NAME", help="without a recipe: a reward's name, or module:function")
    parser.set_defaults(command="rollouts_rescore:run")


def run(arguments: argparse.Namespace, session: Session) -> None:
    """Score what the reward has not scored yet.

    Raises:
        UserError: the reward or a run's tokenizer cannot be used.
    """
    reward = _reward(arguments)
    store = opened(arguments, read_only=False)
    from r2vpo.training.rescoring import Rescoring

    with store.reading() as connection:
        runs = selected(connection, arguments)
    rescoring = Rescoring(reward)
    with counting("groups") as progress:
        done = rescoring.run(store, runs, progress=progress)
    if done.known:
        print(f"{count(done.known)} groups had been scored with {done.reward} before")
    if done.known and not done.groups and not done.left_out:
        return
    print(
        f"{count(done.rows)} rollouts in {count(done.groups)} groups were scored with {done.reward}; a run with this "
        f"reward can draw {count(done.telling)} of these groups"
    )
    for reason, groups in done.left_out.items():
        print(f"{count(groups)} groups {reason} were left out")


def _reward(arguments: argparse.Namespace) -> RewardRecipe:
    from r2vpo.config.errors import validated
    from r2vpo.config.recipe import load_recipe
    from r2vpo.config.reward import RewardRecipe

    if (arguments.recipe is None) == (arguments.reward is None):
        raise UserError("rollouts rescore: name the reward with --recipe RECIPE or with --reward NAME, not both")
    if arguments.recipe is not None:
        return load_recipe(arguments.recipe, arguments.overrides).reward
    if arguments.overrides:
        raise UserError("--set changes a recipe: name one with --recipe")
    return validated(RewardRecipe, {"name": arguments.reward}, source="--reward")
