"""``r2vpo sample``: sample with the policies of a training run in another process, into its store."""

import argparse
from contextlib import suppress
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.cli.train import quiet_bars
from r2vpo.config.recipe import load_recipe
from r2vpo.config.run_directory import POLICIES, open_run
from r2vpo.errors import UserError
from r2vpo.optional import require_store


def sample(arguments: argparse.Namespace, session: Session) -> None:
    """Sample until the run has made its last step, or until Ctrl-C.

    Raises:
        UserError: the run publishes no policies, or the store is not that of the run.
    """
    require_store()
    from r2vpo.store.opening import shown

    run = open_run(arguments.policy)
    policies = Path(run.path) / POLICIES
    if not policies.is_dir() and not load_recipe(run.config).replay.collect:
        raise UserError(f"{run.path}: this run publishes no policies: train with --store {shown(arguments.store)}")
    # The number of threads is that of this machine now, which the run may share.
    recipe = load_recipe(arguments.recipe or run.config, ["trainer.threads=null", *arguments.overrides])
    from r2vpo.training.collect import Sampling

    if not arguments.debug:
        quiet_bars()

    def say(line: str) -> None:
        print(line, flush=True)

    sampling = Sampling(recipe, arguments.store, policies, seed=arguments.seed, say=say)
    with suppress(KeyboardInterrupt):
        sampling.run(rounds=arguments.rounds)
    say(f"{sampling.rollouts:,} rollouts are in {shown(arguments.store)}")
