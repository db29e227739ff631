"""Every objective through the real trainer, on fresh and stale rows, with the multiplier that it should have."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from r2vpo.core.objectives import OBJECTIVES
from tests.tiny import parameters, tiny_model, tiny_trainer

OWN_PENALTY = ("r2vpo", "kl_penalty")


def trained(folder: Path, name: str, *, dual: Any = None, changes: Any = None, **objective: Any) -> Any:
    if dual is None:
        dual = "doubling" if name == "kl_penalty" else {"eta": 0.5}
    options = {"max_steps": 6, "replay": 2, "step_control": False, "dual": dual} | (changes or {})
    trainer = tiny_trainer(folder, model=tiny_model(), objective={"name": name, **objective}, **options)
    trainer.train()
    assert trainer.counters["rollouts_reused"] > 0 and trainer.counters["non_finite_steps"] == 0
    return trainer


def logged(trainer: Any, name: str) -> list[float]:
    return [entry[name] for entry in trainer.state.log_history if name in entry]


@pytest.fixture(scope="module")
def as_given(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Any]:
    """Each objective trained once without options, for the tests that only read what was logged."""
    return functools.cache(lambda name: trained(tmp_path_factory.mktemp(name), name))


@pytest.mark.parametrize("objective", OBJECTIVES)
def test_it_trains_and_logs_the_multiplier_that_it_has(as_given: Callable[[str], Any], objective: str) -> None:
    trainer = as_given(objective)
    before = parameters(tiny_model())
    assert max((parameters(trainer.model)[name] - value).abs().max() for name, value in before.items()) > 1e-4
    for name in ("loss", "grad_norm", "ratio_variance"):
        assert len(logged(trainer, name)) == 6 and all(math.isfinite(value) for value in logged(trainer, name))
    duals = logged(trainer, "dual")
    if objective in OWN_PENALTY:
        assert len(set(duals)) > 1 and min(duals) > 0
    else:
        assert duals == [0.0] * 6 and logged(trainer, "sign_flip_fraction") == [0.0] * 6


@pytest.mark.parametrize("objective", [name for name in OBJECTIVES if name not in OWN_PENALTY])
def test_an_added_penalty_has_a_moving_multiplier(
    tmp_path: Path, as_given: Callable[[str], Any], objective: str
) -> None:
    with_penalty, without = trained(tmp_path, objective, ratio_variance=0.02), as_given(objective)
    duals = logged(with_penalty, "dual")
    assert len(set(duals)) > 1 and min(duals) > 0
    assert with_penalty.controls.dual.target > 0.02
    assert logged(with_penalty, "loss") != logged(without, "loss")


def test_the_policy_gradient_with_the_penalty_is_r2vpo_step_by_step(tmp_path: Path) -> None:
    whole = trained(tmp_path / "a", "r2vpo", delta=0.02, options={"brake": "two_sided"})
    composed = trained(tmp_path / "b", "policy_gradient", delta=0.02, ratio_variance=0.02)
    for name in ("loss", "grad_norm", "dual", "ratio_variance"):
        assert logged(composed, name) == pytest.approx(logged(whole, name), rel=1e-3, abs=1e-6)


def test_the_coefficient_of_the_divergence_moves_once_a_round(tmp_path: Path) -> None:
    options = {"steps_per_generation": None, "num_iterations": 2, "max_steps": 12, "replay": 1}
    trainer = trained(
        tmp_path, "kl_penalty", dual={"kind": "doubling", "value": 8.0}, changes=options | {"learning_rate": 1e-4}
    )
    duals = logged(trainer, "dual")
    rounds = [duals[i : i + 4] for i in range(0, 12, 4)]
    assert all(len(set(values)) == 1 for values in rounds)
    assert [values[0] for values in rounds] == [8.0, 4.0, 2.0]  # the divergence of such small steps is far below
