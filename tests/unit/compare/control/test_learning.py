"""A cell of a comparison on control tasks: from the recipe to the record."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from r2vpo.compare.control.learning import POINTS, curve, run_control
from r2vpo.compare.control.schema import LESS_MEMORY, ControlRecipe
from r2vpo.errors import UserError

SMALL = {"n_steps": 64, "batch_size": 32, "n_epochs": 2, "learning_rate": 1e-3}


def recipe(algorithm: str = "ppo", *, name: str = "CartPole-v1", **options: Any) -> ControlRecipe:
    known = SMALL if algorithm != "trpo" else {key: value for key, value in SMALL.items() if key != "n_epochs"}
    settings = {"seed": 3, "environment": {"name": name, "copies": 2}, "steps": 512, "algorithm": algorithm}
    return ControlRecipe.model_validate(settings | {"options": known | options})


@pytest.mark.parametrize("algorithm", ["ppo", "r2vpo", "trpo"])
def test_a_run_has_a_record_that_its_recipe_determines(algorithm: str) -> None:
    record, again = (run_control(recipe(algorithm)) for _ in range(2))
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert record["curve"] == again["curve"] and record["course"] == again["course"]
    assert record["status"] == "finished" and record["diverged"] is None
    assert record["episodes"] > 5 and record["optimizer_steps"] == 512 and record["wall_seconds"] > 0
    assert record["curve"]["return"][0] > 5 and record["curve"]["steps"][-1] <= 512
    assert record["machine"]["threads"] == 1
    assert {"python", "torch", "stable-baselines3", "sb3-contrib", "gymnasium"} <= record["versions"].keys()
    assert ControlRecipe.model_validate(record["recipe"]) == recipe(algorithm)


def test_what_a_run_logs_is_kept_by_round() -> None:
    course = run_control(recipe("r2vpo"))["course"]
    assert course["steps"] == [128, 256, 384] and all(value > 0 for value in course["decision_variance"])


def test_replay_and_a_seed_make_another_run() -> None:
    plain, replayed = (
        run_control(recipe("r2vpo")),
        run_control(recipe("r2vpo", replay_versions=1)),
    )
    assert plain["course"]["decision_variance"][1:] != replayed["course"]["decision_variance"][1:]
    other = run_control(recipe("r2vpo").model_copy(update={"seed": 4}))
    assert other["curve"] != plain["curve"]


@pytest.mark.parametrize("algorithm", ["ppo", "r2vpo"])
def test_a_run_whose_weights_become_infinite_has_diverged(algorithm: str) -> None:
    record = run_control(recipe(algorithm, name="Pendulum-v1", learning_rate=1e30))
    assert record["status"] == "finished" and record["diverged"] == "the weights have diverged"
    assert json.dumps(record, allow_nan=False)


def test_buffers_that_do_not_fit_into_memory() -> None:
    with pytest.raises(UserError, match=f"^out of memory .*: {LESS_MEMORY}$"):
        run_control(recipe("ppo", n_steps=10**13))


@pytest.mark.parametrize(("task", "what"), [("Poor-v0", "a reward"), ("Blind-v0", "an observation")])
def test_numbers_that_are_not_finite_are_the_environments_fault(task: str, what: str) -> None:
    with pytest.raises(UserError, match=rf"{task}: {what} is not a finite number, after \d+ steps"):
        run_control(recipe("r2vpo", name=f"tests.unit.compare.control.own_task:{task}"))


def test_a_curve_is_the_mean_return_of_each_part() -> None:
    ends, returns = [1, 20, 21, 1_000, 990], [1.0, 3.0, 5.0, 7.0, 9.0]
    made = curve(ends, returns, 1_000)
    assert POINTS == 50 and made == {"steps": [20, 40, 1_000], "return": [2.0, 5.0, 8.0]}
    beyond = curve([1_010], [4.0], 1_000)
    assert beyond == {"steps": [1_000], "return": [4.0]}, "the last round may go beyond the steps"
    assert curve([], [], 1_000) == {"steps": [], "return": []}
    assert np.isfinite(curve(ends, [1e9 / 3] * 5, 1_000)["return"]).all()
