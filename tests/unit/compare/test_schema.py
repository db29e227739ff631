"""Experiments: what is refused, and that every shipped one can be run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import ValidationError

from r2vpo.compare.across_tasks import TasksPlan
from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.cells import Plan, base_recipe
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.compare.schema import Experiment, MethodSpec, label
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.config.recipe import load_recipe
from r2vpo.config.shipped import EXPERIMENTS, description
from r2vpo.errors import UserError
from tests.unit.compare.helpers import EXPERIMENT, experiment


def refusal(folder: Path, **changes: Any) -> str:
    file = folder / "mine.yaml"
    file.write_text(yaml.safe_dump(EXPERIMENT | changes))
    with pytest.raises(UserError) as error:
        load_experiment(file)
    line = str(error.value)
    assert "\n" not in line and line.startswith(f"{file}: ")
    return line.removeprefix(f"{file}: ")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"methods": {}}, "methods is empty"),
        ({"method": {}}, "unknown key method; did you mean methods?"),
        ({"baseline": "clpi"}, "baseline = clpi is not a method: choose one of clip, ours"),
        ({"baseline": []}, "baseline is empty"),
        ({"target": 1.5}, "target is 1.5; it must be at most 1"),
        ({"seeds": {"first": 10, "count": 0}}, "seeds.count is 0; it must be at least 1"),
        ({"tuning": {"seeds": [12], "values": [1]}}, "tuning.seeds has 12, which the result may use"),
        ({"tuning": {"seeds": [1, 1], "values": [1]}}, "tuning.seeds has a duplicate"),
        (
            {"tuning": {"seeds": [1], "values": [2, 1]}},
            "tuning.values is [2, 1], whose values must be rising and distinct",
        ),
        ({"tuning": {"seeds": [1]}}, "tuning.values is missing"),
        (
            {"settings": {"name": "a", "values": [1]}},
            "settings.key and multiply exclude each other, and one is required",
        ),
        ({"settings": {"name": "a", "key": "b", "multiply": "b", "values": [1]}}, "give exactly one of them"),
        ({"settings": {"name": "a", "key": "b", "values": [1, 1]}}, "settings.values has a duplicate"),
        ({"settings": {"name": "a", "multiply": "b", "values": ["x"]}}, "settings.values are factors with multiply"),
        ({"days": [{}]}, "days has 1 of at least 2 items: give 2 items or more"),
        ({"days": [{}, {}], "accuracy_on": "trained"}, "accuracy_on is not used with days"),
        ({"days": [{}, {}], "over": "steps"}, "over = steps is not used with days, which count rollouts"),
        ({"days": [{}, {}], "preferences": True}, "preferences is not used with days"),
        ({"days": [{}, {}], "settings": {"name": "a", "key": "b", "values": [1]}}, "days and settings exclude each"),
        ({"name": "../up"}, "name is '../up'; use letters"),
        ({"jobs": 0}, "jobs is 0; it must be at least 1"),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    assert said in refusal(tmp_path, **changes)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- a\n", "the experiment must be a mapping of keys to values, and this is a list"),
        ("a: [\n", "not valid YAML at line 2"),
        ("", "and this is empty: start it with `name: my-experiment`"),
    ],
)
def test_files_that_are_not_experiments(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(text)
    with pytest.raises(UserError, match=said):
        load_experiment(file)


def test_numbers_and_their_labels() -> None:
    settings = {"name": "a", "key": "b", "values": [0, 0.5]}
    assert experiment(settings=settings).settings.numeric
    assert not experiment(settings=settings | {"values": [0, True]}).settings.numeric
    assert not experiment(settings=settings | {"values": [0, "x"]}).settings.numeric
    assert [label(value) for value in (None, True, 2, 0.5, 3e-5, "x")] == ["", "true", "2", "0.5", "3e-05", "x"]


def test_an_experiment_is_a_path_or_a_listed_name(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("a: 1")
    assert EXPERIMENTS.find(str(file)) == file
    assert EXPERIMENTS.find("habit") == EXPERIMENTS.folder() / "habit.yaml"
    with pytest.raises(UserError, match=r"habbit: no such experiment; did you mean habit\?"):
        EXPERIMENTS.find("habbit")
    with pytest.raises(UserError, match="--list"):
        EXPERIMENTS.find("zzz")


@pytest.mark.parametrize("name", EXPERIMENTS.listed())
def test_every_shipped_experiment_builds_every_cell(name: str) -> None:
    path = EXPERIMENTS.listed()[name]
    made = load_experiment(path)
    assert made.name == name and len(description(path)) > 20
    if isinstance(made, ControlExperiment):  # tests/unit/compare/control/test_shipped.py
        return
    if isinstance(made, TasksExperiment):
        plans = TasksPlan.of(made, str(path), Path("out"))
        built = [plans.plan(task) for task in made.tasks]
    else:
        built = [Plan(made, base_recipe(made.recipe, str(path)), source=str(path))]
    for plan in built:
        _builds_every_cell(plan)


def _builds_every_cell(plan: Plan) -> None:
    made = plan.experiment
    spec = made.tuning
    assert len(plan.tuning()) == (len(plan.tunes) * len(spec.values) * len(spec.seeds) if spec else 0)
    cells = plan.results({method: tune.values[0] for method, tune in plan.tunes.items()})
    assert len(cells) == len(made.methods) * len(made.values) * made.seeds.count
    distinct = {cell.key for cell in cells}
    assert len(distinct) == len(cells), "two methods or settings of it are one and the same run"


def test_a_method_may_tune_another_key_with_as_many_tries(tmp_path: Path) -> None:
    tuning = {"seeds": [1], "key": "trainer.learning_rate", "values": [1.0e-4, 1.0e-3]}
    delta = {"key": "objective.delta", "values": [0.01, 0.04]}
    made = Experiment.model_validate(
        {
            "name": "two",
            "recipe": "quickstart",
            "baseline": "plain",
            "tuning": tuning,
            "methods": {"plain": {"set": {"step_control.enabled": False}}, "ours": {"tune": delta}},
        }
    )
    base = load_recipe(Path("recipes/train/quickstart.yaml"))
    rate, own_delta = base.trainer.learning_rate, base.objective.delta
    plan = Plan(made, base, source="two.yaml")
    tried = [(cell.method, cell.recipe.trainer.learning_rate, cell.recipe.objective.delta) for cell in plan.tuning()]
    assert tried == [
        ("plain", 1e-4, own_delta),
        ("ours", rate, 0.01),
        ("plain", 1e-3, own_delta),
        ("ours", rate, 0.04),
    ]
    (plain, ours) = [cell for cell in plan.results({"plain": 1e-3, "ours": 0.01}) if cell.seed == plan.seeds[0]]
    assert (plain.recipe.trainer.learning_rate, ours.recipe.objective.delta) == (1e-3, 0.01)
    methods = {"plain": {"set": {"step_control.enabled": False}}, "ours": {"tune": "nothing"}}
    untuned = made.model_copy(update={"methods": {name: MethodSpec.model_validate(m) for name, m in methods.items()}})
    plan = Plan(untuned, base, source="two.yaml")
    assert [cell.method for cell in plan.tuning()] == ["plain", "plain"]
    (cell,) = [cell for cell in plan.results({}) if cell.seed == plan.seeds[0]]
    assert (cell.method, cell.recipe.trainer.learning_rate) == ("ours", rate), "it waits for no tuning"
    for broken, said in (
        ({"tuning": None, "methods": {"ours": {"tune": "nothing"}}}, "does nothing without tuning"),
        ({"tuning": tuning, "methods": {"ours": {"tune": delta | {"values": [0.04]}}}}, "same number of tries"),
        ({"tuning": None, "methods": {"ours": {"tune": delta}}}, "does nothing without tuning"),
    ):
        with pytest.raises(ValidationError, match=said):
            Experiment.model_validate({"name": "two", "recipe": "quickstart", "baseline": "ours", **broken})
