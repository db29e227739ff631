"""Cells of an experiment: each is one recipe, identified by its resolved content."""

import copy
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from r2vpo.compare.schema import Experiment, SettingsSpec, Value, label
from r2vpo.config.dpo import DpoRecipe
from r2vpo.config.errors import validated
from r2vpo.config.overrides import get_key, remove_key, set_key
from r2vpo.config.recipe import Recipe, load_recipe, settle_precision
from r2vpo.config.records import Record
from r2vpo.data import load_held_out
from r2vpo.data.options import HabitOptions, ReasoningGymOptions
from r2vpo.errors import UserError

# Settings that do not change a run's numbers, or only how they are stored.
_NOT_IDENTITY = (
    "name",
    "report_to",
    "replay.tags",
    "trainer.threads",
    "trainer.save_steps",
    "trainer.keep_checkpoints",
)
# Options that were added after some cells had finished: at these values, their defaults, they are left out, so that
# those cells keep their keys.
_ADDED = {
    "trainer.router_aux_loss_coef": None,
    "step_control.kind": "decision_variance",
    "step_control.target_kl": None,
    "replay.store": None,
    "replay.from": None,
    "replay.collect": False,
    "trainer.kind": "r2vpo",
    "data.pairs": False,
    "dpo": DpoRecipe().model_dump(mode="json"),
}
_FIXED = {"report_to": [], "evaluation.samples_shown": 0, "trainer.threads": None}


@dataclass(frozen=True)
class Cell:
    """One run of the matrix, or one run per day.

    Attributes:
        kind: ``tuning`` or ``result``.
        method: the method's key.
        setting: the value on the settings' axis; for a tuning try, the value that is tried.
        seed: the run's seed.
        recipe: the complete recipe; that of the first day.
        key: the identity of its recipes; equal keys mean equal runs.
        later: the recipes of the days after the first; empty without days.
        preferences: whether the trained model is measured against its start.
    """

    kind: str
    method: str
    setting: Value | None
    seed: int
    recipe: Recipe
    key: str
    later: tuple[Recipe, ...] = ()
    preferences: bool = False

    @property
    def recipes(self) -> tuple[Recipe, ...]:
        """Return the recipe of every day, or the only one."""
        return self.recipe, *self.later

    @property
    def steps(self) -> int:
        """Return its optimizer steps."""
        return sum(recipe.trainer.max_steps for recipe in self.recipes)

    def task(self, threads: int) -> dict[str, Any]:
        """Return what a worker is asked to run, as JSON."""
        recipes = [recipe.model_dump(mode="json") for recipe in self.recipes]
        for one in recipes:
            one["trainer"]["threads"] = threads
        return {"recipes": recipes, "preferences": self.preferences}

    def outcome(self, record: Record) -> str:
        """Return the accuracy at the end, or that the run diverged."""
        if record["diverged"]:
            return "diverged"
        accuracy = record["evaluations"][-1]["accuracy"] if record["evaluations"] else float("nan")
        return f"accuracy {accuracy:.3f}"

    def __str__(self) -> str:
        middle = f" {label(self.setting)}" if self.setting is not None else ""
        return f"{self.method}{middle} seed {self.seed}"


class Plan:
    """All the cells of an experiment.

    Args:
        experiment: the experiment.
        base: the recipe that every cell starts from.
        source: the experiment's file, for error messages.
        seeds: number of seeds; None takes the experiment's.
        methods: keys of the methods; None takes all.

    Raises:
        UserError: a method is unknown, a cell's recipe is refused, or methods have different budgets.
    """

    def __init__(
        self,
        experiment: Experiment,
        base: Recipe,
        *,
        source: str,
        seeds: int | None = None,
        methods: Sequence[str] | None = None,
    ) -> None:
        unknown = [name for name in methods or () if name not in experiment.methods]
        if unknown:
            raise UserError(f"--methods: {source} has no method {unknown[0]}: it has {', '.join(experiment.methods)}")
        self.experiment = experiment
        self.source = source
        self.methods = [name for name in experiment.methods if methods is None or name in methods]
        self.seeds = [experiment.seeds.first + i for i in range(seeds or experiment.seeds.count)]
        self._base = base.model_dump(mode="json")
        self.tunes = {name: tune for name in self.methods if (tune := experiment.tune(name)) is not None}
        self._check()

    def tuning(self) -> list[Cell]:
        """Return every try, seed by seed, so that an interrupted tuning is balanced over the methods."""
        spec = self.experiment.tuning
        if spec is None:
            return []
        return [
            self._cell("tuning", method, value, seed, {tune.key: value} | spec.set, rounds=spec.rounds)
            for seed in spec.seeds
            for place in range(len(spec.values))
            for method, tune in self.tunes.items()
            for value in [tune.values[place]]
        ]

    def results(self, tuned: Mapping[str, float]) -> list[Cell]:
        """Return the cells of the result, seed by seed.

        Args:
            tuned: the chosen value of each tuned method; methods without a value yet are left out.
        """
        methods = [name for name in self.methods if name not in self.tunes or name in tuned]
        return [
            self._cell(
                "result",
                method,
                value,
                seed,
                {self.tunes[method].key: tuned[method]} if method in self.tunes else {},
                setting=value,
            )
            for seed in self.seeds
            for value in self.experiment.values
            for method in methods
        ]

    def _check(self) -> None:
        """Build one cell of each method and setting, so that problems are refused before anything runs."""
        tuned = {method: tune.values[0] for method, tune in self.tunes.items()}
        for name, tune in self.tunes.items():
            if tune.key in self.experiment.methods[name].set:
                raise UserError(
                    f"{self.source}: methods.{name}.set has {tune.key}, which tuning chooses: remove one of the two"
                )
        cells = [cell for cell in self.results(tuned) if cell.seed == self.seeds[0]]
        data = cells[0].recipe.data
        if self.experiment.accuracy_on == "trained" and not isinstance(data, HabitOptions):
            raise UserError(
                f"{self.source}: accuracy_on = trained is for data.source habit, but the recipe's is {data.source}: "
                "remove it"
            )
        if self.experiment.preferences:
            _check_measured(cells[0].recipe, self.source)
        for cell in cells:
            if cell.recipe.is_offline and self.experiment.over == "rollouts":
                raise UserError(
                    f"{self.source}: methods.{cell.method} trains on given pairs, and accuracy is drawn over the "
                    "answers that a run generates: set over to steps, or let it make its own pairs, of problems as data"
                )
            _check_store(cell.recipe.replay.store, days=bool(cell.later), where=f"{self.source}: methods.{cell.method}")
        if self.experiment.over == "rollouts":
            remedy = "`rounds`, which counts rounds of generation for every method"
            self._check_equal(cells, "generates {} rollouts", lambda cell: sum(map(rollouts, cell.recipes)), remedy)
        else:
            remedy = "trainer.optimizer_steps_per_round, or trainer.passes"
            self._check_equal(cells, "makes {} optimizer steps", lambda cell: cell.steps, remedy)
            remedy = "rollout.prompts_per_round: of given pairs it counts two responses each"
            self._check_equal(cells, "has {} responses", lambda cell: rollouts(cell.recipe), remedy)
        self.tuning()

    def _check_equal(self, cells: Sequence[Cell], words: str, amount: Callable[[Cell], int], remedy: str) -> None:
        """Refuse cells whose budgets differ."""
        amounts = {amount(cell): str(cell) for cell in reversed(cells)}
        if len(amounts) > 1:
            (two, second), *_, (one, first) = amounts.items()
            raise UserError(
                f"{self.source}: {first} {words.format(one)} and {second} {two}: comparisons need the same number, set "
                f"{remedy}"
            )

    def _cell(
        self,
        kind: str,
        method: str,
        value: Value | None,
        seed: int,
        chosen: Mapping[str, Any],
        *,
        setting: Value | None = None,
        rounds: int | None = None,
    ) -> Cell:
        days = self.experiment.days or [{}]
        recipes = [self._recipe(method, seed, (chosen, day), setting=setting, rounds=rounds) for day in days]
        keys = [identity(recipe) for recipe in recipes]
        measured = kind == "result" and self.experiment.preferences
        if measured:  # an equal run that was not measured is no substitute
            keys.append("preferences")
        key = keys[0] if len(keys) == 1 else _digest(keys)
        return Cell(kind, method, value, seed, recipes[0], key, (*recipes[1:],), measured)

    def _recipe(
        self,
        method: str,
        seed: int,
        chosen: Sequence[Mapping[str, Any]],
        *,
        setting: Value | None,
        rounds: int | None,
    ) -> Recipe:
        experiment = self.experiment
        settings = copy.deepcopy(self._base)
        where = f"{self.source}: methods.{method}"
        for layer in (experiment.set, experiment.methods[method].set, *chosen):
            for key, item in layer.items():
                set_key(settings, key, item, where=where)
        if experiment.settings is not None and setting is not None:
            _apply_setting(settings, experiment.settings, setting, where)
        rounds = rounds or experiment.rounds
        if rounds is not None:
            trainer = settings["trainer"]
            trainer["max_steps"] = rounds * trainer["optimizer_steps_per_round"] * trainer["passes"]
        for key, item in {**_FIXED, "name": experiment.name, "seed": seed}.items():
            set_key(settings, key, item, where=where)
        recipe = validated(Recipe, settings, source=where)
        # A cell is the same run on every machine, so that a cell finished on one counts on another. The policy
        # of DPO samples itself, in its own type.
        return settle_precision(recipe, autocast=True, dtype="model" if recipe.trainer.kind == "dpo" else "bfloat16")


def _check_store(store: str | None, *, days: bool, where: str) -> None:
    """Refuse a store that cells would share: only the days of one cell do.

    Raises:
        UserError: the store is not the name of a file, or there are no days.
    """
    if store is None:
        return
    if not days:
        raise UserError(f"{where}: replay.store is for runs that follow each other: add days, or remove it")
    if Path(store).name != store:
        raise UserError(f"{where}: replay.store = {store} is not in the folder of each cell: give the name of a file")


def base_recipe(recipe: str | dict[str, Any], source: str) -> Recipe:
    """Return the recipe that an experiment names or contains.

    Args:
        recipe: its name, its file, or its content.
        source: the experiment's file, for error messages.

    Raises:
        UserError: the recipe does not exist, or is refused.
    """
    if isinstance(recipe, str):
        return load_recipe(recipe)
    return validated(Recipe, recipe, source=f"{source}: recipe")


def rollouts(recipe: Recipe) -> int:
    """Return the number of rollouts that a run of the recipe generates; of given pairs, the responses in them."""
    return recipe.rounds * recipe.rows_per_round


def identity(recipe: Recipe) -> str:
    """Return a short hash of a resolved recipe, without settings that do not change the run's numbers."""
    settings = recipe.model_dump(mode="json")
    if isinstance(recipe.data, HabitOptions):
        # Null and the full list are the same run; cells finished before null was allowed have the full list.
        settings["data"]["difficulties"] = recipe.data.trained_on()
    without = {*_NOT_IDENTITY, *_unread(recipe)}
    for key in (*without, *_ADDED):
        if key in without or get_key(settings, key) == _ADDED[key]:
            remove_key(settings, key)
    return _digest(settings)


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _unread(recipe: Recipe) -> list[str]:
    """Return settings that a run of this recipe never reads, so that a new default leaves it the same run."""
    step = recipe.step_control
    unread = [] if recipe.critic.enabled else ["critic"]
    if step.enabled and step.kind == "decision_variance":
        return unread
    read = ("enabled", "kind", "target_kl", "min_scale", "max_scale") if step.enabled else ("enabled",)
    unread += [f"step_control.{name}" for name in (field.name for field in fields(step)) if name not in read]
    if recipe.objective.name != "r2vpo" and recipe.objective.ratio_variance is None:
        unread.append("objective.delta")
    return unread


def _check_measured(recipe: Recipe, source: str) -> None:
    """Refuse `preferences = true` for problems whose right answers are not known."""
    data = recipe.data
    if not isinstance(data, HabitOptions | ReasoningGymOptions):
        raise UserError(
            f"{source}: preferences = true is for data.source habit or reasoning_gym, but the recipe's is "
            f"{data.source}: remove it"
        )
    unknown = next((row for row in load_held_out(data, seed=recipe.seed) if not row.answer), None)
    if unknown is not None:
        raise UserError(
            f"{source}: preferences = true needs the answer to every held-out problem, and some of {unknown.source} "
            "have no single one: leave the family out, or remove it"
        )


def _apply_setting(settings: dict[str, Any], spec: SettingsSpec, value: Value, where: str) -> None:
    if spec.key is not None:
        set_key(settings, spec.key, value, where=where)
        return
    number = get_key(settings, str(spec.multiply))
    if not isinstance(number, int | float) or isinstance(number, bool):
        raise UserError(f"{where}: settings.multiply = {spec.multiply} is not a number in the recipe: name one that is")
    if isinstance(value, str):
        raise UserError(f"{where}: settings.multiply = {spec.multiply} takes numbers, not {value!r}")
    set_key(settings, str(spec.multiply), number * value, where=where)
