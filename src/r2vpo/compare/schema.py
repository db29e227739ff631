"""Schema of an experiment: methods x settings x seeds over one recipe, and the tuning of each method's rate."""

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from r2vpo.section import Section

Value = bool | int | float | str
Overrides = dict[str, Any]


def _as_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _rising(values: list[int | float]) -> list[int | float]:
    if list(values) != sorted({*values}):
        raise ValueError(f"is {values}, whose values must be rising and distinct: sort them")
    return values


Tries = Annotated[list[int | float], Field(min_length=1), AfterValidator(_rising)]


class TuneSpec(Section):
    """The key that is tuned for one method in place of `tuning.key`, with the same number of tries."""

    key: str = Field(min_length=1, description="the dotted key that is chosen")
    values: Tries = Field(description="values to try; as many as in tuning.values")


class MethodSpec(Section):
    """One way to train: what it sets on top of the recipe."""

    title: str | None = Field(None, min_length=1, description="its name in the report; null uses its key")
    set: Overrides = Field({}, description="dotted keys of the recipe and their values")
    tune: TuneSpec | Literal["nothing"] | None = Field(
        None, description="another key to tune, or `nothing` for a method that runs untuned; null tunes tuning.key"
    )


class SeedsSpec(Section):
    """The seeds of the result: first, first + 1, ..."""

    first: int = Field(100, ge=0, description="the lowest seed")
    count: int = Field(10, ge=1, le=10_000, description="number of seeds; `--seeds` overrides it")


class TuningSpec(Section):
    """Tuning: one key of every method is chosen from the same values, on seeds that the result does not use."""

    seeds: list[int] = Field(min_length=1, description="seeds of the tries; all below seeds.first")
    key: str = Field("trainer.learning_rate", min_length=1, description="the dotted key that is chosen")
    values: Tries = Field(description="values to try, the same for every method")
    rounds: int | None = Field(None, ge=1, description="rounds of a try; null uses those of the experiment")
    finalists: int | None = Field(
        None, ge=1, description="number of tuned methods that run in the result, the best on these seeds; null: all"
    )
    always: list[str] = Field([], description="tuned methods that run in the result in addition to the finalists")
    set: Overrides = Field({}, description="dotted keys that only the tries have")

    @model_validator(mode="after")
    def _consistent(self) -> "TuningSpec":
        if len({*self.seeds}) != len(self.seeds):
            raise ValueError("seeds has a duplicate: give each once")
        return self


class SettingsSpec(Section):
    """An axis that every method is crossed with: a key and its values, or factors of the value it has."""

    name: str = Field(min_length=1, description="its name in the report")
    key: str | None = Field(None, min_length=1, description="dotted key that takes the values")
    multiply: str | None = Field(None, min_length=1, description="dotted key that is multiplied by the values")
    values: list[Value] = Field(min_length=1, description="the values, or the factors")

    @model_validator(mode="after")
    def _consistent(self) -> "SettingsSpec":
        if (self.key is None) == (self.multiply is None):
            raise ValueError("key and multiply exclude each other, and one is required: give exactly one of them")
        if len({*map(str, self.values)}) != len(self.values):
            raise ValueError("values has a duplicate: give each once")
        if self.multiply is not None and not self.numeric:
            raise ValueError("values are factors with multiply: give numbers")
        return self

    @property
    def numeric(self) -> bool:
        """Return whether the values are numbers, so that curves over them make sense."""
        return all(isinstance(value, int | float) and not isinstance(value, bool) for value in self.values)


AccuracyOn = Literal["all", "trained"]
Over = Literal["rollouts", "steps"]


class Matrix(Section):
    """What every comparison has, over one task or several."""

    recipe: str | dict[str, Any] = Field(description="a recipe's name, its file, or its content")
    set: Overrides = Field({}, description="dotted keys of the recipe for every cell")
    rounds: int | None = Field(
        None, ge=1, description="rounds of generation of every cell, whatever its steps; null keeps trainer.max_steps"
    )
    seeds: SeedsSpec = Field(SeedsSpec(), description="the seeds of the result")
    target: float | None = Field(None, gt=0, le=1, description="accuracy to which rollouts are counted")
    accuracy_on: AccuracyOn = Field(
        "all",
        description="the difficulties of the source habit whose mean accuracy is a run's accuracy: all that are held "
        "out, or only those that it is trained on",
    )
    methods: dict[str, MethodSpec] = Field(min_length=1, description="the methods to compare")
    jobs: int | None = Field(None, ge=1, description="number of cells to run at once; null means one per core")


class Experiment(Matrix):
    """A comparison: every cell is one run of the recipe with the changes of a method, a setting and a seed."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100, description="name of the comparison and of its folder"
    )
    tuning: TuningSpec | None = Field(None, description="how each method's rate is chosen; null tunes nothing")
    baseline: Annotated[list[str], BeforeValidator(_as_list)] = Field(
        min_length=1, description="the method or methods that all others are compared with"
    )
    settings: SettingsSpec | None = Field(None, description="an axis that the methods are crossed with")
    days: list[Overrides] | None = Field(
        None,
        min_length=2,
        description="what each of several days sets: a cell is one run per day, each with the model that the day "
        "before left; `rounds` counts those of a day, and the days of a cell share its replay.store",
    )
    over: Over = Field(
        "rollouts",
        description="what curves, areas and `target` are over: the rollouts that a run generates, or its optimizer "
        "steps; with given pairs a run generates none, so that its curve is over steps",
    )
    preferences: bool = Field(
        False,
        description="measure the trained model of each cell of the result against its start, with data.source habit "
        "or reasoning_gym: win rate, log-probability of chosen answers, KL divergence",
    )

    @model_validator(mode="after")
    def _consistent(self) -> "Experiment":
        unknown = [name for name in self.baseline if name not in self.methods]
        if unknown:
            raise ValueError(f"baseline = {unknown[0]} is not a method: choose one of {', '.join(self.methods)}")
        for name, method in self.methods.items():
            self._check_tune(name, method)
        if self.days and self.settings:
            raise ValueError("days and settings exclude each other: remove one of them")
        if self.days and self.accuracy_on != "all":
            raise ValueError(
                "accuracy_on is not used with days, which are measured on their own difficulties: remove it"
            )
        if self.days and self.over != "rollouts":
            raise ValueError("over = steps is not used with days, which count rollouts: remove it")
        if self.days and self.preferences:
            raise ValueError("preferences is not used with days, whose runs start from different models: remove it")
        used = [seed for seed in self.tuning.seeds if seed >= self.seeds.first] if self.tuning else []
        if used:
            raise ValueError(
                f"tuning.seeds has {used[0]}, which the result may use: seeds.first = {self.seeds.first}, so choose "
                "lower ones"
            )
        return self

    def _check_tune(self, name: str, method: MethodSpec) -> None:
        if method.tune is None:
            return
        if self.tuning is None:
            raise ValueError(f"methods.{name}.tune does nothing without tuning: add tuning, or remove it")
        if isinstance(method.tune, TuneSpec) and len(method.tune.values) != len(self.tuning.values):
            raise ValueError(
                f"methods.{name}.tune has {len(method.tune.values)} values and tuning {len(self.tuning.values)}: every "
                "method gets the same number of tries, so give equally many"
            )

    def tune(self, method: str) -> TuneSpec | None:
        """Return what is tuned for a method; None for one that runs untuned."""
        spec = self.methods[method].tune
        if self.tuning is None or spec == "nothing":
            return None
        return spec or TuneSpec(key=self.tuning.key, values=list(self.tuning.values))

    def title(self, method: str) -> str:
        """Return a method's name in the report."""
        return self.methods[method].title or method

    @property
    def unit(self) -> str:
        """Return in what the budget of a run is counted, in words."""
        return "optimizer steps" if self.over == "steps" else "rollouts"

    @property
    def target_of_runs(self) -> float | None:
        """Return the accuracy to which a whole run is counted; None with days, which each count."""
        return None if self.days else self.target

    @property
    def values(self) -> list[Value | None]:
        """Return the values of the settings' axis; without one, a single None."""
        return list(self.settings.values) if self.settings else [None]


def label(value: Value | None) -> str:
    """Format a setting's value: ``0.3``, ``true``, an empty text for none."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value)
