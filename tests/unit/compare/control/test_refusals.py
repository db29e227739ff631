"""What an experiment's file may not contain: each is one line, before anything runs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.control.cells import ControlPlan
from r2vpo.compare.control.options import check_options, options_of
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.errors import UserError
from tests.unit.compare.control.helpers import EXPERIMENT

NOTHING_CHANGES = {"name": "Pendulum-v1", "changes": [{"at": 0.5, "friction": 0.5}]}


def changed(where: str, value: Any) -> dict[str, Any]:
    """The experiment with another value at a dotted key."""
    made: dict[str, Any] = yaml.safe_load(yaml.safe_dump(EXPERIMENT, sort_keys=False))
    inner, (*path, last) = made, where.split(".")
    for key in path:
        inner = inner.setdefault(key, {})
    inner[last] = value
    return made


@pytest.mark.parametrize(
    ("where", "value", "said"),
    [
        ("sed", 1, "unknown key sed; did you mean "),
        ("kind", "contrl", "kind"),
        ("baseline", "x", "baseline = x is not a method: choose one of ppo, ours"),
        ("seeds.count", 0, "seeds.count"),
        ("jobs", 0, "jobs"),
        ("tasks", {}, "tasks"),
        ("tasks.car.kind", "spares", "tasks.car.kind"),
        ("tasks.car.steps", 0, "tasks.car.steps"),
        ("tasks.car.environment.copy", 2, "tasks.car.environment.copy"),
        ("tasks.car.environment.copies", 0, "tasks.car.environment.copies"),
        ("tasks.car.environment.name", "Pendulum-v77", "tasks.car: environment.name = Pendulum-v77: "),
        ("tasks.car.environment.name", "envpool:Pendulum-v77", "tasks.car: environment.name = envpool:Pendulum-v77: "),
        ("tasks.car.environment.name", "no such name", "tasks.car: environment.name = no such name: "),
        ("tasks.car.environment.changes", [{"at": 1.5}], "tasks.car.environment.changes"),
        ("tasks.car.environment.changes", [{"at": 0.5, "frction": 1}], "frction"),
        ("tasks.car.environment", NOTHING_CHANGES, "friction cannot change in Pendulum-v1, nothing can: remove it"),
        ("tasks.car.set.lerning", 1, "tasks.car.set has lerning, which no method has: remove it"),
        ("set.lerning", 1, "set has lerning, which no method has: remove it"),
        ("set.learning_rate", "fast", "set.learning_rate = fast: input should be a valid number"),
        ("set.learning_rate", -1.0, "set.learning_rate = -1.0: input should be greater than 0"),
        ("set.learning_rate", float("inf"), "set.learning_rate = inf: input should be a finite number"),
        (
            "tasks.car.steps",
            100,
            "tasks.car.steps = 100 is less than two rounds of n_steps x copies = 64 x 1",
        ),
        ("tasks.car.environment.name", "FrozenLake-v1", "FrozenLake-v1: its observations cannot be normalised: set "),
        (
            "tasks.car.environment.name",
            "tests.unit.compare.control.broken_task:No-v0",
            "broken_task:No-v0: this module is broken (RuntimeError while it was made)",
        ),
        (
            "tasks.car.environment.name",
            "tests.unit.compare.control.own_task:Asks-v0",
            "(TypeError while it was made)",
        ),
        ("set.gamma", "x", "set.gamma = x: input should be a valid number"),
        ("set.gamma", 1.5, "set.gamma = 1.5: input should be less than or equal to 1"),
        ("set.n_steps", 2.5, "set.n_steps = 2.5: input should be a valid integer"),
        ("methods.ppo.set.rollout_buffer_class", "x", "methods.ppo.set.rollout_buffer_class = x: "),
        ("methods.ppo.set.use_sde", 3, "methods.ppo.set.use_sde = 3: input should be a valid boolean"),
        ("methods.ppo.set.verbose", 1, "methods.ppo.set has verbose: ppo has learning_rate, "),
        ("methods.ppo.set.clip_range_vf", -1.0, "tasks.pendulum, methods.ppo: ppo: `clip_range_vf` must be positive"),
        ("methods.ppo.algorithm", "dqn", "methods.ppo.algorithm"),
        ("methods.ours.set.clip_range", 0.2, "methods.ours.set has clip_range: r2vpo has learning_rate, "),
        ("methods.ours.set.delta", -1.0, "tasks.pendulum, methods.ours: r2vpo: delta is -1"),
        ("methods.ours.set.objective", "spoo", "tasks.pendulum, methods.ours: r2vpo: "),
        ("methods.ours.set.step_control", {"knd": "kl"}, "tasks.pendulum, methods.ours: r2vpo: "),
        ("methods.ours.rates", [3.0], "methods.ours"),
    ],
)
def test_one_line_says_what_is_wrong(where: str, value: Any, said: str, tmp_path: Path) -> None:
    file = tmp_path / "small.yaml"
    file.write_text(yaml.safe_dump(changed(where, value), sort_keys=False))
    with pytest.raises(UserError) as error:
        experiment = load_experiment(file)
        assert isinstance(experiment, ControlExperiment)
        ControlPlan(experiment, source="small.yaml")
    text = str(error.value)
    assert said in text and "small.yaml" in text and "\n" not in text, text


def test_factors_of_a_rate_need_a_rate() -> None:
    made = changed("methods.ours.rates", [1.0, 3.0]) | {"set": {}}
    with pytest.raises(UserError, match=r"small.yaml: methods.ours.rates are factors of learning_rate: add it to set"):
        ControlPlan(ControlExperiment.model_validate(made), source="small.yaml")


def test_what_an_algorithm_has() -> None:
    assert "clip_range" in options_of("ppo") and "delta" in options_of("r2vpo") and "cg_damping" in options_of("trpo")
    assert not {"env", "seed", "device"} & set(options_of("ppo"))
    check_options(
        "ppo", {"learning_rate": 1, "clip_range_vf": None, "use_sde": True, "policy_kwargs": {"a": 1}}, "here"
    )
