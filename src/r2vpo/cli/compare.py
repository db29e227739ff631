"""``r2vpo compare``: list experiments, run one, or draw its report."""

import argparse
from pathlib import Path

from rich.console import Console

from r2vpo.cli.failures import Session
from r2vpo.errors import UserError
from r2vpo.experiments.catalog import load_experiment
from r2vpo.experiments.cells import Plan, base_recipe
from r2vpo.experiments.compare import describe, run_comparison
from r2vpo.experiments.pool import check_jobs, cores
from r2vpo.training.shipped import EXPERIMENTS, RECIPES


def compare(arguments: argparse.Namespace, session: Session) -> None:
    """Run the command; what is wrong with the experiment, or with a cell's recipe, is said before work begins."""
    if arguments.list or arguments.experiment is None:
        _list()
        return
    path = EXPERIMENTS.find(arguments.experiment)
    experiment = load_experiment(path)
    plan = Plan(
        experiment,
        base_recipe(experiment, str(path), RECIPES.find),
        source=str(path),
        seeds=arguments.seeds,
        methods=[name.strip() for name in arguments.methods.split(",")] if arguments.methods else None,
    )
    jobs = arguments.jobs or experiment.jobs or cores()
    check_jobs(jobs)
    out, console = Path(arguments.out), Console()
    if arguments.dry_run:
        describe(plan, out, jobs=jobs, console=console)
        return
    try:
        if not arguments.report:
            run_comparison(plan, out, jobs=jobs, console=console, tuning_only=arguments.tuning_only)
    except KeyboardInterrupt:
        text = "what is finished is kept; the same command goes on, with --report it draws what there is"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
        raise
    except UserError:
        _report(plan, out, console)
        raise
    _report(plan, out, console)


def _report(plan: Plan, out: Path, console: Console) -> None:
    from r2vpo.experiments.report import build_comparison_report

    for path in build_comparison_report(plan, out):
        console.print(str(path), highlight=False, markup=False, soft_wrap=True)


def _list() -> None:
    print(*EXPERIMENTS.described(), sep="\n")
    print("Run one with `r2vpo compare NAME`; any path of a YAML file works too.")
