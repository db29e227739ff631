"""Which cells a comparison on control tasks has, and what is refused before anything runs."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from r2vpo.compare.control.schema import ControlExperiment, EnvironmentSpec
from r2vpo.errors import UserError
from tests.unit.compare.control.helpers import EXPERIMENT, plan


def rated(**methods: list[float]) -> dict[str, Any]:
    """The methods, some of them at other learning rates too."""
    given = EXPERIMENT["methods"]
    return {name: spec | ({"rates": methods[name]} if name in methods else {}) for name, spec in given.items()}


def test_each_method_runs_on_each_task_with_each_seed() -> None:
    cells = plan().cells()
    assert len(cells) == 2 * (5 + 2) and len({cell.key for cell in cells}) == len(cells)
    assert [str(cell) for cell in cells[:3]] == [
        "pendulum ppo seed 10",
        "pendulum ours seed 10",
        "pendulum ppo seed 11",
    ]
    assert [str(cell) for cell in cells[10:12]] == ["car ppo seed 10", "car ours seed 10"], "task by task"
    assert {cell.steps for cell in cells if cell.task_name == "car"} == {256}
    assert {cell.seed for cell in plan(seeds=3).cells() if cell.task_name == "car"} == {10, 11, 12}


def test_a_method_gets_the_shared_options_that_it_has() -> None:
    made = plan(set=EXPERIMENT["set"] | {"clip_range_vf": 0.2, "clip_range": 0.3})
    found = {cell.method: cell.recipe.options for cell in made.cells()}
    assert found["ppo"]["clip_range"] == 0.1, "the method's own option wins"
    assert "clip_range" not in found["ours"]
    assert found["ours"]["clip_range_vf"] == 0.2 and found["ours"]["delta"] == 0.05


def test_some_methods_run_at_multiples_of_the_learning_rate_after_all_others() -> None:
    cells = plan(methods=rated(ours=[1.0, 3.0, 10.0])).cells()
    assert [cell.rate for cell in cells] == [1.0] * 14 + [3.0] * 7 + [10.0] * 7
    assert {cell.method for cell in cells[14:]} == {"ours"}
    assert cells[-1].recipe.options["learning_rate"] == pytest.approx(1e-2)
    assert cells[14].setting == "pendulum x3" and cells[0].setting == "pendulum"


def test_what_is_chosen() -> None:
    made = plan(tasks=["car"], methods=["ours"])
    assert {(cell.task_name, cell.method) for cell in made.cells()} == {("car", "ours")}
    with pytest.raises(UserError, match=r"--tasks: small.yaml has no task cart: it has pendulum, car"):
        plan(tasks=["cart"])


def test_what_an_experiment_may_be() -> None:
    with pytest.raises(ValidationError, match="baseline = x is not a method: choose one of ppo, ours"):
        ControlExperiment.model_validate(EXPERIMENT | {"baseline": "x"})
    for wrong in ([3.0], [1.0, 10.0, 3.0], []):
        with pytest.raises(ValidationError, match=r"begin with 1|at least 1 item"):
            ControlExperiment.model_validate(EXPERIMENT | {"methods": rated(ours=wrong)})
    with pytest.raises(ValidationError, match="in the order of their `at`"):
        EnvironmentSpec(name="Hopper-v5", changes=[{"at": 0.5}, {"at": 0.2}])
