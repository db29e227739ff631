"""Schema of a comparison on control tasks."""

from typing import Any, Literal

from pydantic import Field, model_validator

from r2vpo.compare.schema import Overrides, SeedsSpec
from r2vpo.section import Section

Algorithm = Literal["ppo", "r2vpo", "trpo"]
LESS_MEMORY = "lower n_steps, copies or replay_versions, or run fewer cells at once with --jobs"
"""What to do when a run's memory does not suffice: that of its buffers is in proportion to these numbers."""


class Change(Section):
    """A change of a task's dynamics during training; what is not given is as it was originally."""

    at: float = Field(gt=0, lt=1, description="the share of the run's steps after which it holds")
    friction: float = Field(1.0, gt=0, description="in MuJoCo: factor of the friction of every surface")
    mass: float = Field(1.0, gt=0, description="in MuJoCo: factor of the mass and inertia of every body")
    speed: float = Field(1.0, description="in r2vpo/MovingObstacles-v0: factor of the speed of the obstacles")


class EnvironmentSpec(Section):
    """The environments of a run."""

    name: str = Field(
        min_length=1, description="its name in gymnasium, MODULE:NAME if a module registers it, or envpool:NAME"
    )
    copies: int = Field(1, ge=1, le=1024, description="environments that a policy acts in at once")
    normalize: bool = Field(True, description="normalise observations and rewards by running statistics")
    changes: list[Change] = Field([], description="changes of its dynamics, in the order of `at`")

    @model_validator(mode="after")
    def _consistent(self) -> "EnvironmentSpec":
        if [one.at for one in self.changes] != sorted({one.at for one in self.changes}):
            raise ValueError("changes are not in the order of their `at`, each of which may occur once: sort them")
        if self.changes and self.name.startswith("envpool:"):
            raise ValueError(f"changes do not work in {self.name}: use a task of gymnasium")
        return self


class ControlRecipe(Section):
    """One run.

    `options` are the keyword arguments of the algorithm, such as ``learning_rate``.
    """

    seed: int = Field(ge=0, description="seed of the policy, the environments and the order of minibatches")
    environment: EnvironmentSpec = Field(description="where it acts")
    steps: int = Field(ge=1, description="steps of all environments together")
    algorithm: Algorithm = Field(description="ppo (Stable-Baselines3's), r2vpo or trpo (sb3-contrib's)")
    anneal: bool = Field(True, description="let the learning rate fall linearly to 0")
    options: dict[str, Any] = Field({}, description="its keyword arguments")


class ControlTask(Section):
    """One task."""

    title: str | None = Field(None, min_length=1, description="its name in the report; null uses its key")
    kind: Literal["dense", "sparse", "dynamic"] = Field("dense", description="the group in which it is summed up")
    environment: EnvironmentSpec = Field(description="where methods act")
    steps: int = Field(ge=1, description="steps of a run")
    set: Overrides = Field({}, description="options for every method on this task")
    seeds: int | None = Field(None, ge=1, description="number of seeds; null uses seeds.count")


class ControlMethod(Section):
    """One method."""

    title: str | None = Field(None, min_length=1, description="its name in the report; null uses its key")
    algorithm: Algorithm = Field(description="ppo, r2vpo or trpo")
    anneal: bool = Field(True, description="let the learning rate fall linearly to 0")
    set: Overrides = Field({}, description="its options; they win over those of the experiment and the task")
    rates: list[float] = Field(
        [1.0], min_length=1, description="factors of its learning rate at which it runs; the first must be 1"
    )

    @model_validator(mode="after")
    def _consistent(self) -> "ControlMethod":
        if self.rates[0] != 1.0 or self.rates != sorted({*self.rates}):
            raise ValueError(f"rates are {self.rates}: begin with 1, and let them rise")
        return self


class ControlExperiment(Section):
    """A comparison: every cell is one run of a method on a task, at a multiple of its learning rate, with a seed."""

    kind: Literal["control"] = Field(description="says that this is a comparison on control tasks")
    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="name of the comparison and of its folder"
    )
    set: Overrides = Field({}, description="options for every method; a method gets those that it has")
    seeds: SeedsSpec = Field(SeedsSpec(), description="the seeds of the result")
    baseline: str = Field(description="the method that all others are compared with")
    tasks: dict[str, ControlTask] = Field(min_length=1, description="the tasks")
    methods: dict[str, ControlMethod] = Field(min_length=1, description="the methods")
    jobs: int | None = Field(None, ge=1, description="number of cells to run at once; null means one per core")

    @model_validator(mode="after")
    def _consistent(self) -> "ControlExperiment":
        if self.baseline not in self.methods:
            raise ValueError(f"baseline = {self.baseline} is not a method: choose one of {', '.join(self.methods)}")
        return self

    @property
    def rates(self) -> list[float]:
        """Every factor of a learning rate, rising."""
        return sorted({rate for method in self.methods.values() for rate in method.rates})

    def title(self, method: str) -> str:
        """Return a method's name in the report."""
        return self.methods[method].title or method

    def task_title(self, task: str) -> str:
        """Return a task's name in the report."""
        return self.tasks[task].title or task
