"""Which cells a comparison on control tasks has, and what is refused before anything runs."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from r2vpo.compare.control.schema import ControlExperiment, EnvironmentSpec
from r2vpo.errors import UserError
from tests.unit.compare.control.helpers import EXPERIMENT, plan


def test_each_method_runs_on_each_task_with_each_seed() -> None:
    cells = plan().cells()
    assert len(cells) == 2 * (5 + 2) and len({cell.key for cell in cells}) == len(cells)
    assert [str(cell) for cell in cells[:4]] == [
        "pendulum ppo seed 10",
        "pendulum ours seed 10",
        "car ppo seed 10",
        "car ours seed 10",
    ]
    assert {cell.steps for cell in cells if cell.task_name == "car"} == {256}


def test_a_method_gets_the_shared_options_that_it_has() -> None:
    cells = plan(set=EXPERIMENT["set"] | {"clip_range_vf": 0.2, "clip_range": 0.3}).cells()
    ppo, ours = cells[0].recipe.options, cells[1].recipe.options
    assert ppo["clip_range"] == 0.1, "the method's own option wins"
    assert "clip_range" not in ours and ours["clip_range_vf"] == 0.2 and ours["delta"] == 0.05


def test_rates_multiply_the_learning_rate_and_come_after_the_rate_itself() -> None:
    cells = plan(rates=[1.0, 10.0]).cells()
    assert len(cells) == 28 and [cell.rate for cell in cells] == [1.0] * 14 + [10.0] * 14
    assert cells[14].recipe.options["learning_rate"] == pytest.approx(1e-2)
    assert cells[14].setting == "pendulum x10" and cells[0].setting == "pendulum"


def test_what_is_chosen() -> None:
    made = plan(tasks=["car"], methods=["ours"])
    assert {(cell.task_name, cell.method) for cell in made.cells()} == {("car", "ours")}
    with pytest.raises(UserError, match=r"--tasks: small.yaml has no task cart: it has pendulum, car"):
        plan(tasks=["cart"])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"set": {"learning_rate": 1e-3, "lerning": 1}}, r"small.yaml: set has lerning, which no method has: remove it"),
        (
            {"methods": EXPERIMENT["methods"] | {"ours": {"algorithm": "r2vpo", "set": {"clip_range": 0.2}}}},
            r"small.yaml: methods.ours.set has clip_range: r2vpo has learning_rate, ",
        ),
        (
            {"methods": EXPERIMENT["methods"] | {"ours": {"algorithm": "r2vpo", "set": {"delta": -1.0}}}},
            r"small.yaml: tasks.pendulum, methods.ours: r2vpo: delta is -1",
        ),
        (
            {"tasks": {"a": {"steps": 10, "environment": {"name": "Pendulum-v77"}}}},
            r"environment.name = Pendulum-v77: ",
        ),
    ],
)
def test_what_is_refused(changes: dict[str, object], said: str) -> None:
    with pytest.raises(UserError, match=said):
        plan(**changes)


def test_what_an_experiment_may_be() -> None:
    with pytest.raises(ValidationError, match="baseline = x is not a method: choose one of ppo, ours"):
        ControlExperiment.model_validate(EXPERIMENT | {"baseline": "x"})
    with pytest.raises(ValidationError, match="begin with 1"):
        ControlExperiment.model_validate(EXPERIMENT | {"rates": [3.0]})
    with pytest.raises(ValidationError, match="in the order of their `at`"):
        EnvironmentSpec(name="Hopper-v5", changes=[{"at": 0.5}, {"at": 0.2}])
