"""Schema of an experiment over several tasks, each with the same methods, tuned again or run untuned."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, model_validator

from r2vpo.compare.schema import AccuracyOn, Experiment, Matrix, MethodSpec, Overrides, Tries, TuneSpec, TuningSpec
from r2vpo.errors import UserError
from r2vpo.section import Section

CARRIED = "_carried"
"""Suffix of a method's key if it runs with the value that was chosen on another task."""
_STEPS = "trainer.optimizer_steps_per_round"


class TaskSpec(Section):
    """One task: its changes to the recipe, and its methods."""

    title: str | None = Field(None, min_length=1, description="its name in the report; null uses its key")
    recipe: str | dict[str, Any] | None = Field(None, description="its recipe; null uses the experiment's")
    set: Overrides = Field({}, description="dotted keys of the recipe and their values, for every method")
    steps: float = Field(
        1.0, gt=0, description="factor of every method's optimizer steps per round, for rounds of another size"
    )
    methods: dict[str, Overrides] | None = Field(
        None, description="the methods that run on it, each with its settings here; null takes all unchanged"
    )
    values: Tries | None = Field(None, description="values of tuning.key to try on it; null uses tuning.values")
    rounds: int | None = Field(None, ge=1, description="rounds of generation of every cell; null uses the experiment's")
    seeds: int | None = Field(None, ge=1, description="number of seeds; null uses seeds.count")
    accuracy_on: AccuracyOn | None = Field(None, description="like that of the experiment; null uses it")


class TasksExperiment(Matrix):
    """A comparison over tasks by its regret: how far a method's area is below the best tuned method's."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=60, description="name of the comparison and of its folder"
    )
    tuning: TuningSpec = Field(description="how each method's rate is chosen, on each task")
    default: str = Field(description="the method whose regret is measured; it runs untuned")
    carried_from: str | None = Field(
        None, description="a task whose chosen values every tuned method also uses on all other tasks"
    )
    carried: list[str] | None = Field(None, description="the tuned methods that do so; null: all")
    shown: list[str] = Field([], description="methods that the figure shows in addition to the default")
    tasks: dict[str, TaskSpec] = Field(min_length=1, description="the tasks")

    @model_validator(mode="after")
    def _consistent(self) -> "TasksExperiment":
        if self.default not in self.methods:
            raise ValueError(f"default = {self.default} is not a method: choose one of {', '.join(self.methods)}")
        if self.methods[self.default].tune != "nothing":
            raise ValueError(f"default = {self.default} is tuned: set methods.{self.default}.tune to nothing")
        if self.carried_from is not None and self.carried_from not in self.tasks:
            raise ValueError(f"carried_from = {self.carried_from} is not a task: choose one of {', '.join(self.tasks)}")
        for name in self.carried or ():
            if name not in self.methods or self.methods[name].tune == "nothing":
                raise ValueError(
                    f"carried has {name}, which is not a tuned method: choose from {', '.join(self.methods)}"
                )
        for name, task in self.tasks.items():
            unknown = [method for method in task.methods or () if method not in self.methods]
            if unknown:
                raise ValueError(f"tasks.{name}.methods has {unknown[0]}: choose from {', '.join(self.methods)}")
            if task.methods is not None and self.default not in task.methods:
                raise ValueError(f"tasks.{name}.methods lacks {self.default}, whose regret is measured: add it")
        return self

    def task_title(self, task: str) -> str:
        """Return a task's name in the report."""
        return self.tasks[task].title or task

    def methods_of(self, task: str) -> list[str]:
        """Return the keys of the methods that run on a task."""
        chosen = self.tasks[task].methods
        return [name for name in self.methods if chosen is None or name in chosen]

    def recipe_of(self, task: str) -> str | dict[str, Any]:
        """Return a task's recipe."""
        return self.tasks[task].recipe or self.recipe

    def experiment(
        self, task: str, *, steps: int, carried: Mapping[str, float], only: Sequence[str] = ()
    ) -> Experiment:
        """Return a task as a separate experiment with the name ``<name>.<task>``.

        Args:
            task: its key.
            steps: optimizer steps per round of its recipe.
            carried: the values chosen on `carried_from`, by method; methods without one are left out.
            only: keys of the methods to keep; empty for all.

        Raises:
            UserError: rounds of another size would have a fractional number of optimizer steps.
        """
        spec, tuning = self.tasks[task], self.tuning
        values = tuning.values if spec.values is None else spec.values
        methods: dict[str, MethodSpec] = {}
        for name in self.methods_of(task):
            method = self.methods[name]
            settings = method.set | self._steps(task, name, steps) | ((spec.methods or {}).get(name) or {})
            methods[name] = method.model_copy(update={"set": settings})
            carries = name in carried and (self.carried is None or name in self.carried)
            if carries and task != self.carried_from and method.tune != "nothing":
                tune = method.tune or TuneSpec(key=tuning.key, values=list(values))
                title = f"{method.title or name}, as tuned on {self.task_title(self.carried_from or '')}"
                methods[name + CARRIED] = MethodSpec(
                    title=title, set=settings | {tune.key: carried[name]}, tune="nothing"
                )
        # A value carried over from a task was chosen there, so it is in that task's result as well.
        always = [name for name in self.carried or () if task == self.carried_from]
        kept = {name: method for name, method in methods.items() if not only or name in only}
        return Experiment(
            name=f"{self.name}.{task}",
            recipe=self.recipe_of(task),
            set=self.set | spec.set,
            rounds=spec.rounds or self.rounds,
            seeds=self.seeds.model_copy(update={"count": spec.seeds or self.seeds.count}),
            tuning=tuning.model_copy(update={"values": list(values), "always": always}),
            target=self.target,
            accuracy_on=spec.accuracy_on or self.accuracy_on,
            baseline=[self.default if self.default in kept else next(iter(kept))],
            methods=kept,
        )

    def _steps(self, task: str, method: str, steps: int) -> Overrides:
        """Return the optimizer steps per round of a method on a task, if the task scales them."""
        factor = self.tasks[task].steps
        if factor == 1:
            return {}
        layers = (self.methods[method].set, self.tasks[task].set, self.set, {_STEPS: steps})
        scaled = factor * next(layer[_STEPS] for layer in layers if _STEPS in layer)
        if scaled < 1 or scaled != round(scaled):
            raise UserError(
                f"tasks.{task}.steps = {factor:g} makes {scaled:g} optimizer steps per round of {method}: set {_STEPS} "
                f"in tasks.{task}.methods.{method}"
            )
        return {_STEPS: round(scaled)}
