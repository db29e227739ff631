"""Experiments over tasks: what each task's experiment is, what is refused, and what is carried over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from r2vpo.compare.across_tasks import TasksPlan
from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.store import Store
from r2vpo.compare.tasks import TasksExperiment
from r2vpo.compare.tuning import choices, finalists, tuned
from r2vpo.errors import UserError
from tests.unit.compare.helpers import RECIPE, curve, record

TASKS: dict[str, Any] = {
    "name": "many",
    "recipe": RECIPE,
    "seeds": {"first": 10, "count": 3},
    "tuning": {"seeds": [1, 2], "values": [1e-4, 1e-3]},
    "default": "ours",
    "carried_from": "large",
    "tasks": {
        "large": {"title": "large rounds"},
        "small": {"set": {"rollout.prompts_per_round": 2}, "rounds": 8, "steps": 0.5},
        "steep": {"methods": {"ours": {}, "clip": {"replay.versions": 2}}, "values": [0.1, 0.2], "seeds": 2},
    },
    "methods": {
        "ours": {"tune": "nothing"},
        "clip": {"title": "Clipping", "set": {"objective.name": "clip", "replay.versions": 0}},
        "cispo": {"set": {"objective.name": "cispo"}},
    },
}


def tasks_plan(folder: Path, made: dict[str, Any] | None = None, **options: Any) -> TasksPlan:
    file = folder / "many.yaml"
    file.write_text(yaml.safe_dump(made or TASKS, sort_keys=False))
    spec = load_experiment(file)
    assert isinstance(spec, TasksExperiment)
    return TasksPlan.of(spec, str(file), folder / "out", **options)


def fill(made: TasksPlan, task: str, *, results: bool = True) -> None:
    """Finish a task."""
    plan = made.plan(task)
    store = Store(made.out / plan.experiment.name)
    for cell in plan.tuning():
        store.add(cell, record(cell, curve(cell)))
    if results:
        for cell in made.plan(task).results(tuned(choices(plan, store))):
            store.add(cell, record(cell, curve(cell)))


def test_a_task_is_a_separate_experiment(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    large, small, steep = (made.plan(task) for task in ("large", "small", "steep"))
    assert [plan.experiment.name for plan in (large, small, steep)] == ["many.large", "many.small", "many.steep"]
    assert list(large.tunes) == ["clip", "cispo"], "the default runs as it is"
    # Half the prompts, half the steps, twice the rounds.
    (cell,) = [cell for cell in small.results({}) if cell.seed == 10]
    assert (cell.recipe.rollout.prompts_per_round, cell.recipe.trainer.optimizer_steps_per_round) == (2, 1)
    assert cell.recipe.trainer.max_steps == 8
    assert steep.methods == ["ours", "clip"] and steep.tunes["clip"].values == [0.1, 0.2] and len(steep.seeds) == 2
    assert {cell.recipe.replay.versions for cell in steep.tuning()} == {2}, "what a task says of a method wins"


def test_what_is_tuned_on_one_task_runs_on_the_others(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path)
    assert made.plan("small").methods == ["ours", "clip", "cispo"]
    fill(made, "large", results=False)
    carried = made.plan("small")
    assert carried.methods == ["ours", "clip", "clip_carried", "cispo", "cispo_carried"]
    assert carried.experiment.title("clip_carried") == "Clipping, as tuned on large rounds"
    rates = {cell.method: cell.recipe.trainer.learning_rate for cell in carried.results({"clip": 1e-4, "cispo": 1e-4})}
    assert (rates["clip"], rates["clip_carried"]) == (1e-4, 1e-3)
    keys = {cell.method: cell.key for cell in carried.results({"clip": 1e-3, "cispo": 1e-4})}
    assert keys["clip"] == keys["clip_carried"], "the same value is the same run"
    assert made.plan("large").methods == ["ours", "clip", "cispo"]
    assert tasks_plan(tmp_path, methods=["clip"]).plan("small").methods == ["clip"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"default": "mine"}, "default = mine is not a method: choose one of ours, clip, cispo"),
        ({"default": "clip"}, "default = clip is tuned: set methods.clip.tune to nothing"),
        ({"carried": ["ours"]}, "carried has ours, which is not a tuned method"),
        ({"carried_from": "tiny"}, "carried_from = tiny is not a task: choose one of large, small, steep"),
        ({"tasks": {"a": {"methods": {"ours": {}, "clpi": {}}}}, "carried_from": None}, "tasks.a.methods has clpi"),
        ({"tasks": {"a": {"methods": {"clip": {}}}}, "carried_from": None}, "tasks.a.methods lacks ours"),
        ({"tasks": {}}, "tasks is empty"),
        (
            {"tasks": {"a": {"steps": 0.3}}, "carried_from": None},
            "tasks.a.steps = 0.3 makes 0.6 optimizer steps per round",
        ),
        (
            {"tasks": {"a": {"set": {"trainer.lr": 1}}}, "carried_from": None},
            "tasks.a: methods.ours: unknown key trainer.lr",
        ),
    ],
)
def test_what_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError) as error:
        tasks_plan(tmp_path, TASKS | changes)
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_task_without_the_requested_methods_is_left_out(tmp_path: Path) -> None:
    assert tasks_plan(tmp_path, methods=["cispo"]).tasks == ["large", "small"]
    with pytest.raises(UserError, match="--methods: none of cispo runs on these tasks"):
        tasks_plan(tmp_path, methods=["cispo"], tasks=["steep"])


def test_the_task_that_values_are_carried_from_comes_first(tmp_path: Path) -> None:
    assert tasks_plan(tmp_path, tasks=["small", "large"]).tasks == ["large", "small"]


def test_steps_are_scaled_from_what_the_task_itself_sets(tmp_path: Path) -> None:
    task = {"set": {"trainer.optimizer_steps_per_round": 4}, "steps": 0.5}
    made = tasks_plan(tmp_path, TASKS | {"tasks": {"large": {}, "own": task}})
    (cell,) = [cell for cell in made.plan("own").results({}) if cell.seed == 10]
    assert cell.recipe.trainer.optimizer_steps_per_round == 2


def test_unknown_tasks_and_methods_are_named(tmp_path: Path) -> None:
    for options, said in (
        ({"tasks": ["tiny"]}, "has no task tiny: it has large, small, steep"),
        ({"methods": ["clpi"]}, "has no method clpi: it has ours, clip, cispo"),
    ):
        with pytest.raises(UserError, match=said):
            tasks_plan(tmp_path, **options)


def test_what_is_carried_over_runs_where_it_was_chosen_and_on_the_others(tmp_path: Path) -> None:
    made = tasks_plan(tmp_path, TASKS | {"carried": ["cispo"], "tuning": TASKS["tuning"] | {"finalists": 1}})
    fill(made, "large", results=False)
    large = made.plan("large")
    running = finalists(large, choices(large, Store(made.out / "many.large")))
    assert set(running) == {"clip", "cispo"}, "the better one, and the one that is carried over"
    assert [name for name in made.plan("small").methods if name.endswith("_carried")] == ["cispo_carried"]
