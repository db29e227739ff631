"""``r2vpo compare``: list experiments, run one, or draw its report."""

import argparse
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from r2vpo.cli.failures import Session
from r2vpo.compare.across_tasks import TasksPlan, describe_tasks, run_tasks
from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.cells import Plan, base_recipe
from r2vpo.compare.comparison import describe, run_comparison
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.pool import check_jobs, cores
from r2vpo.compare.schema import Experiment
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.config.display import say
from r2vpo.config.folder_lock import FolderInUse
from r2vpo.config.shipped import EXPERIMENTS
from r2vpo.errors import UserError
from r2vpo.optional import require

if TYPE_CHECKING:
    from r2vpo.compare.control.cells import ControlPlan


def compare(arguments: argparse.Namespace, session: Session) -> None:
    """Run the command; problems with the experiment or with a cell's recipe are reported before work begins."""
    if arguments.list or arguments.experiment is None:
        _list()
        return
    path = EXPERIMENTS.find(arguments.experiment)
    experiment = load_experiment(path)
    jobs = arguments.jobs or experiment.jobs or cores()
    check_jobs(jobs)
    if Path(arguments.out).exists() and not Path(arguments.out).is_dir():
        raise UserError(f"--out {arguments.out}: this is not a folder: name one, or a new one")
    chosen = _Chosen(str(path), Path(arguments.out), arguments.seeds, _names("--methods", arguments.methods))
    tasks = _names("--tasks", arguments.tasks)
    work: _OneExperiment | _OverTasks | _OnControl
    if isinstance(experiment, ControlExperiment):
        if arguments.tuning_only:
            raise UserError("--tuning-only: nothing is tuned on control tasks: leave it out")
        work = _OnControl.of(experiment, chosen, tasks)
    elif isinstance(experiment, TasksExperiment):
        work = _OverTasks.of(experiment, chosen, tasks)
    elif tasks is not None:
        raise UserError(f"--tasks: {path} has no tasks: leave it out")
    else:
        work = _OneExperiment.of(experiment, chosen)
    console = Console()
    if arguments.dry_run:
        work.describe(jobs, console)
        return
    require("matplotlib", "the report of a comparison")
    try:
        if not arguments.report:
            work.run(jobs, console, arguments.tuning_only)
    except KeyboardInterrupt:
        text = "finished cells are kept; the same command continues, and --report draws what there is"
        say(console, text)
        raise
    except FolderInUse:
        raise
    except UserError:
        _show(work.report(), console)
        raise
    _show(work.report(), console)


@dataclass(frozen=True)
class _Chosen:
    """The cells chosen on the command line."""

    source: str
    out: Path
    seeds: int | None
    methods: list[str] | None


@dataclass(frozen=True)
class _OneExperiment:
    plan: Plan
    out: Path

    @classmethod
    def of(cls, experiment: Experiment, chosen: _Chosen) -> "_OneExperiment":
        base = base_recipe(experiment.recipe, chosen.source)
        plan = Plan(experiment, base, source=chosen.source, seeds=chosen.seeds, methods=chosen.methods)
        return cls(plan, chosen.out)

    def describe(self, jobs: int, console: Console) -> None:
        describe(self.plan, self.out, jobs=jobs, console=console)

    def run(self, jobs: int, console: Console, tuning_only: bool) -> None:
        run_comparison(self.plan, self.out, jobs=jobs, console=console, tuning_only=tuning_only)

    def report(self) -> list[Path]:
        from r2vpo.compare.report import build_comparison_report

        return build_comparison_report(self.plan, self.out)


@dataclass(frozen=True)
class _OverTasks:
    tasks: TasksPlan

    @classmethod
    def of(cls, experiment: TasksExperiment, chosen: _Chosen, tasks: list[str] | None) -> "_OverTasks":
        source, out = chosen.source, chosen.out
        return cls(TasksPlan.of(experiment, source, out, tasks=tasks, methods=chosen.methods, seeds=chosen.seeds))

    def describe(self, jobs: int, console: Console) -> None:
        describe_tasks(self.tasks, jobs=jobs, console=console)

    def run(self, jobs: int, console: Console, tuning_only: bool) -> None:
        run_tasks(self.tasks, jobs=jobs, console=console, tuning_only=tuning_only)

    def report(self) -> list[Path]:
        from r2vpo.compare.regret_report import build_regret_report
        from r2vpo.compare.report import build_comparison_report

        # All tasks and methods, including those not requested this time.
        tasks = self.tasks
        whole = TasksPlan.of(tasks.experiment, tasks.source, tasks.out, seeds=tasks.seeds)
        for task in tasks.tasks:
            build_comparison_report(whole.plan(task), tasks.out)
        return build_regret_report(whole)


@dataclass(frozen=True)
class _OnControl:
    plan: "ControlPlan"
    out: Path

    @classmethod
    def of(cls, experiment: ControlExperiment, chosen: _Chosen, tasks: list[str] | None) -> "_OnControl":
        require("sb3_contrib", "a comparison on control tasks")
        from r2vpo.compare.control.cells import ControlPlan

        plan = ControlPlan(experiment, source=chosen.source, tasks=tasks, methods=chosen.methods, seeds=chosen.seeds)
        return cls(plan, chosen.out)

    def describe(self, jobs: int, console: Console) -> None:
        from r2vpo.compare.control.comparison import describe_control

        describe_control(self.plan, self.out, jobs=jobs, console=console)

    def run(self, jobs: int, console: Console, tuning_only: bool) -> None:
        from r2vpo.compare.control.comparison import run_control_comparison

        run_control_comparison(self.plan, self.out, jobs=jobs, console=console)

    def report(self) -> list[Path]:
        from r2vpo.compare.control.comparison import build_control_report

        return build_control_report(self.plan.whole(), self.out)  # with those not requested this time


def _names(option: str, text: str | None) -> list[str] | None:
    if text is None:
        return None
    names = [name.strip() for name in text.split(",") if name.strip()]
    if not names:
        raise UserError(f"{option} names nothing: give names, separated by commas, or leave it out for all")
    return names


def _show(paths: list[Path], console: Console) -> None:
    for path in paths:
        say(console, str(path))


def _list() -> None:
    print(*EXPERIMENTS.described(), sep="\n")
    print("Run one with `r2vpo compare NAME`; any path of a YAML file works too.")
