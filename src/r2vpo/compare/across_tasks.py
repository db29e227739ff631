"""Run a comparison over tasks, from its file to its report: each task is an experiment, then regrets are computed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from r2vpo.compare.analysis import Results, load_results
from r2vpo.compare.cells import Plan, base_recipe
from r2vpo.compare.comparison import describe, run_comparison
from r2vpo.compare.store import Store
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.compare.tuning import choices, tuned
from r2vpo.config.display import say
from r2vpo.errors import UserError


@dataclass(frozen=True)
class TasksPlan:
    """The cells of all tasks, as far as they are known.

    Attributes:
        experiment: the experiment.
        source: its file, for error messages.
        out: the folder of comparisons, in which each task has its own folder ``<name>.<task>``.
        tasks: keys of the tasks to run.
        methods: keys of the methods to run; empty for all.
        seeds: number of seeds; None takes each task's.
    """

    experiment: TasksExperiment
    source: str
    out: Path
    tasks: Sequence[str]
    methods: Sequence[str] = ()
    seeds: int | None = None

    @classmethod
    def of(
        cls,
        experiment: TasksExperiment,
        source: str,
        out: Path,
        *,
        tasks: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        seeds: int | None = None,
    ) -> "TasksPlan":
        """Build the plan, and a cell of every method on every task, so that problems are refused now.

        Raises:
            UserError: a task or a method is unknown, or a cell's recipe is refused.
        """
        for asked, known, what in ((tasks, experiment.tasks, "task"), (methods, experiment.methods, "method")):
            unknown = [name for name in asked or () if name not in known]
            if unknown:
                raise UserError(f"--{what}s: {source} has no {what} {unknown[0]}: it has {', '.join(known)}")
        chosen = [
            task for task in tasks or experiment.tasks if not methods or set(methods) & set(experiment.methods_of(task))
        ]
        # The task whose chosen values the others need comes first.
        chosen.sort(key=lambda task: task != experiment.carried_from)
        if not chosen:
            raise UserError(f"--methods: none of {', '.join(methods or ())} runs on these tasks: name others")
        plan = cls(experiment, source, out, chosen, list(methods or ()), seeds)
        for task in plan.tasks:
            plan.plan(task)
        return plan

    def plan(self, task: str) -> Plan:
        """Return the cells of one task, including those with carried-over values once these are chosen.

        Raises:
            UserError: a cell's recipe is refused.
        """
        carried = {} if task == self.experiment.carried_from else self._carried()
        return self._plan(task, carried)

    def results(self) -> dict[str, Results]:
        """Return the finished results of each task."""
        plans = {task: self.plan(task) for task in self.tasks}
        return {task: load_results(plan, Store(self.out / plan.experiment.name)) for task, plan in plans.items()}

    def _carried(self) -> dict[str, float]:
        """Return the values already chosen on the task that they are carried over from."""
        source = self.experiment.carried_from
        if source is None or not (
            set(self.methods or self.experiment.methods) & set(self.experiment.methods_of(source))
        ):
            return {}
        plan = self._plan(source, {})
        return tuned(choices(plan, Store(self.out / plan.experiment.name)))

    def _plan(self, task: str, carried: Mapping[str, float]) -> Plan:
        spec = self.experiment
        source = f"{self.source}: tasks.{task}"
        base = base_recipe(spec.recipe_of(task), source)
        steps = base.trainer.optimizer_steps_per_round
        experiment = spec.experiment(task, steps=steps, carried=carried, only=self.methods)
        return Plan(experiment, base, source=source, seeds=self.seeds)


def run_tasks(tasks: TasksPlan, *, jobs: int, console: Console, tuning_only: bool = False) -> None:
    """Run the unfinished cells of every task, one task after the other.

    Args:
        tasks: the cells.
        jobs: number of cells to run at once.
        console: where progress is shown.
        tuning_only: leave the results for another call.

    Raises:
        UserError: cells failed (raised after all tasks), or another process runs the same comparison.
    """
    failed: list[UserError] = []
    for task in tasks.tasks:
        say(console, f"{tasks.experiment.task_title(task)}:")
        try:
            run_comparison(tasks.plan(task), tasks.out, jobs=jobs, console=console, tuning_only=tuning_only)
        except UserError as error:
            say(console, str(error))
            failed.append(error)
    if failed:
        raise failed[0]


def describe_tasks(tasks: TasksPlan, *, jobs: int, console: Console) -> None:
    """Print every cell of every task with its state, without running anything."""
    for task in tasks.tasks:
        say(console, f"{tasks.experiment.task_title(task)}:")
        describe(tasks.plan(task), tasks.out, jobs=jobs, console=console)
