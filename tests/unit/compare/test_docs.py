"""The statements of docs/comparing.md."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

from r2vpo.cli.arguments import build_parser
from r2vpo.compare.across_tasks import TasksPlan
from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.cells import Plan, base_recipe
from r2vpo.compare.control.cells import ControlPlan
from r2vpo.compare.control.schema import Change, ControlExperiment, ControlMethod, ControlTask, EnvironmentSpec
from r2vpo.compare.schema import Experiment, MethodSpec, SettingsSpec, TuneSpec, TuningSpec
from r2vpo.compare.statistics import FEWEST_SEEDS
from r2vpo.compare.tasks import TasksExperiment, TaskSpec
from r2vpo.config.shipped import EXPERIMENTS

PAGE = (Path(__file__).parents[3] / "docs" / "comparing.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def named(text: str) -> set[str]:
    """Every key of an example, and every name in code type in its comments."""
    return set(re.findall(r"[\w.]+(?=:)", text)) | set(re.findall(r"`(\w+)", text))


def read(folder: Path, example: str) -> tuple[Path, Experiment | TasksExperiment | ControlExperiment]:
    file = folder / "mine.yaml"
    file.write_text(example)
    return file, load_experiment(file)


def test_the_example_is_an_experiment_with_every_key(tmp_path: Path) -> None:
    example, _, _ = blocks("yaml")
    file, made = read(tmp_path, example)
    assert isinstance(made, Experiment)
    plan = Plan(made, base_recipe(made.recipe, str(file)), source=str(file))
    assert len(plan.tuning()) == 2 * 3 * 2
    assert len(plan.results({"grpo": 1e-4, "ours": 0.04})) == 2 * 4 * 10
    for model in (Experiment, MethodSpec, TuneSpec, TuningSpec, SettingsSpec):
        assert set(model.model_fields) <= named(example), f"{set(model.model_fields) - named(example)} of {model}"


def test_the_example_over_tasks_has_every_key_that_only_tasks_have(tmp_path: Path) -> None:
    _, example, _ = blocks("yaml")
    file, made = read(tmp_path, example)
    assert isinstance(made, TasksExperiment)
    plans = TasksPlan.of(made, str(file), tmp_path)
    assert [len(plans.plan(task).methods) for task in made.tasks] == [3, 2]
    own = set(TasksExperiment.model_fields) - set(Experiment.model_fields) | set(TaskSpec.model_fields)
    assert own <= named(example), own - named(example)


def test_the_example_on_control_tasks_has_every_key(tmp_path: Path) -> None:
    _, _, example = blocks("yaml")
    _, made = read(tmp_path, example)
    assert isinstance(made, ControlExperiment)
    cells = ControlPlan(made, source="mine.yaml", seeds=1).cells()
    assert len(cells) == 3 * 4 + 3 * 2
    for model in (ControlExperiment, ControlTask, EnvironmentSpec, Change, ControlMethod):
        assert set(model.model_fields) <= named(example), f"{set(model.model_fields) - named(example)} of {model}"


def test_its_commands_parse() -> None:
    for line in "".join(blocks("sh")).splitlines():
        build_parser().parse_args(shlex.split(line, comments=True)[1:])


def test_it_names_what_comes_with_the_package() -> None:
    table = PAGE.partition("## What comes with the package")[2]
    assert set(re.findall(r"`(\w+)`", table)) == set(EXPERIMENTS.listed())


def test_it_says_from_how_many_seeds_there_are_intervals() -> None:
    assert FEWEST_SEEDS == 5 and "fewer than five seeds" in PAGE
