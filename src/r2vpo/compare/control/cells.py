"""Cells of a comparison on control tasks."""

from __future__ import annotations

import copy
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.learning import build
from r2vpo.compare.control.options import check_options, default_of, options_of
from r2vpo.compare.control.schema import ControlExperiment, ControlRecipe
from r2vpo.config.errors import validated
from r2vpo.config.records import Record
from r2vpo.errors import UserError

RATE = "learning_rate"


@dataclass(frozen=True)
class ControlCell:
    """One run; the names are those of `r2vpo.compare.work.Work`.

    Attributes:
        method: the method's key.
        task_name: the task's key.
        rate: the factor of its learning rate.
        seed: the run's seed.
        recipe: what it runs.
        key: the identity of the recipe.
    """

    method: str
    task_name: str
    rate: float
    seed: int
    recipe: ControlRecipe
    key: str
    kind: str = "result"

    @property
    def setting(self) -> str:
        """The task and, unless it is 1, the factor of the rate."""
        return self.task_name if self.rate == 1 else f"{self.task_name} x{self.rate:g}"

    @property
    def steps(self) -> int:
        """Steps of its environments."""
        return self.recipe.steps

    def task(self, threads: int) -> dict[str, Any]:
        """Return what a worker is asked to run, as JSON; it uses one thread."""
        return {"control": self.recipe.model_dump(mode="json")}

    def outcome(self, record: Record) -> str:
        """Return the last return, or that the run diverged."""
        if record["diverged"]:
            return "diverged"
        returns = record["curve"]["return"]
        return f"return {returns[-1]:,.1f}" if returns else "no episode ended"

    def __str__(self) -> str:
        return f"{self.setting} {self.method} seed {self.seed}"


class ControlPlan:
    """All cells of an experiment.

    Args:
        experiment: the experiment.
        source: its file, for error messages.
        tasks: keys of the tasks; None takes all.
        methods: keys of the methods; None takes all.
        seeds: number of seeds; None takes each task's.

    Raises:
        UserError: a task or method is unknown, or a recipe is refused.
    """

    def __init__(
        self,
        experiment: ControlExperiment,
        *,
        source: str,
        tasks: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        seeds: int | None = None,
    ) -> None:
        for asked, known, what in ((tasks, experiment.tasks, "task"), (methods, experiment.methods, "method")):
            unknown = [name for name in asked or () if name not in known]
            if unknown:
                raise UserError(f"--{what}s: {source} has no {what} {unknown[0]}: it has {', '.join(known)}")
        self.experiment, self.source = experiment, source
        self.tasks = [name for name in experiment.tasks if tasks is None or name in tasks]
        self.methods = [name for name in experiment.methods if methods is None or name in methods]
        self._seeds = seeds
        self._check()

    def whole(self) -> ControlPlan:
        """Return the plan of all tasks and methods, of which this is a part."""
        other = copy.copy(self)
        other.tasks, other.methods = list(self.experiment.tasks), list(self.experiment.methods)
        return other

    def seeds(self, task: str) -> list[int]:
        """Return the seeds of a task."""
        spec = self.experiment.seeds
        count = self._seeds or self.experiment.tasks[task].seeds or spec.count
        return [spec.first + number for number in range(count)]

    def cells(self) -> list[ControlCell]:
        """Return every cell: first those at the learning rate itself; task by task, and within a task seed by seed."""
        return [
            self._cell(task, method, rate, seed)
            for rate in self.experiment.rates
            for task in self.tasks
            for seed in self.seeds(task)
            for method in self.methods
            if rate in self.experiment.methods[method].rates
        ]

    def _options(self, task: str, method: str) -> dict[str, Any]:
        spec = self.experiment.methods[method]
        given = self.experiment.set | self.experiment.tasks[task].set
        known = options_of(spec.algorithm)
        return {name: value for name, value in given.items() if name in known} | spec.set

    def _cell(self, task: str, method: str, rate: float, seed: int) -> ControlCell:
        spec, options = self.experiment.methods[method], self._options(task, method)
        if RATE in options:
            options[RATE] = options[RATE] * rate
        settings = {
            "seed": seed,
            "environment": self.experiment.tasks[task].environment.model_dump(mode="json"),
            "steps": self.experiment.tasks[task].steps,
            "algorithm": spec.algorithm,
            "anneal": spec.anneal,
            "options": options,
        }
        recipe = validated(ControlRecipe, settings, source=f"{self.source}: methods.{method}")
        return ControlCell(method, task, rate, seed, recipe, _identity(recipe))

    def _check(self) -> None:
        """Refuse options that no algorithm has, tasks that do not exist, and options that are rejected."""
        every = {name for spec in self.experiment.methods.values() for name in options_of(spec.algorithm)}
        tasks = [(f"tasks.{name}.set", self.experiment.tasks[name].set) for name in self.tasks]
        for where, given in [("set", self.experiment.set), *tasks]:
            unknown = sorted(set(given) - every)
            if unknown:
                raise UserError(f"{self.source}: {where} has {unknown[0]}, which no method has: remove it")
        for method in self.methods:
            spec = self.experiment.methods[method]
            check_options(spec.algorithm, spec.set, f"{self.source}: methods.{method}.set")
        for task in self.tasks:
            self._check_task(task)

    def _check_task(self, task: str) -> None:
        recipes = {}
        for method in self.methods:
            spec, options = self.experiment.methods[method], self._options(task, method)
            # Those of the method itself have been checked: what is wrong now is the experiment's or the task's.
            check_options(spec.algorithm, options, f"{self.source}: set")
            if RATE not in options and spec.rates != [1.0]:
                raise UserError(f"{self.source}: methods.{method}.rates are factors of {RATE}: add it to set")
            recipes[method] = self._cell(task, method, 1.0, self.experiment.seeds.first).recipe
        for recipe in recipes.values():
            self._check_rounds(task, recipe)
        try:
            environments = make_environments(next(iter(recipes.values())))
        except UserError as error:
            raise UserError(f"{self.source}: tasks.{task}: {error}") from None
        try:
            for method, recipe in recipes.items():
                try:
                    build(recipe, environments)
                except UserError as error:
                    raise UserError(f"{self.source}: tasks.{task}, methods.{method}: {error}") from None
        finally:
            environments.close()

    def _check_rounds(self, task: str, recipe: ControlRecipe) -> None:
        """Refuse runs of a single round: a rate that is annealed is 0 in the last one."""
        steps = recipe.options.get("n_steps", default_of(recipe.algorithm, "n_steps"))
        copies = recipe.environment.copies
        if recipe.steps < 2 * steps * copies:
            raise UserError(
                f"{self.source}: tasks.{task}.steps = {recipe.steps} is less than two rounds of n_steps x copies = "
                f"{steps} x {copies}: raise it, or lower n_steps"
            )


def _identity(recipe: ControlRecipe) -> str:
    text = json.dumps(recipe.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]
