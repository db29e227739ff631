"""Saved and loaded: lambda, step size, replay and counts come along, and training continues as without it."""

import copy
import pickle

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.integrations.sb3 import R2VPO
from tests.unit.integrations.sb3.environments import model, several, steps, weights

OPTIONS = {"replay_versions": 2, "replay_ratio": 0.5, "dual": "ascent", "delta": 0.03, "clip_range_vf": 0.3}


def continued(made, env, seed=9):
    """Train two rounds further, from a reset environment and generators of one state."""
    made.set_env(env)
    made.set_random_seed(seed)
    return made.learn(steps(2), reset_num_timesteps=False)


def plain(state):
    """A nested state as comparable values."""
    if isinstance(state, dict):
        return {name: plain(value) for name, value in state.items()}
    if isinstance(state, list):
        return [plain(value) for value in state]
    return state.tolist() if isinstance(state, torch.Tensor) else state


@pytest.mark.parametrize("name", ["pendulum", "multi_discrete", "dict"])
def test_a_loaded_model_continues_as_the_saved_one(tmp_path, name):
    made = model(R2VPO, name, **OPTIONS).learn(steps(3))
    made.save(tmp_path / "model")
    loaded = R2VPO.load(tmp_path / "model", device="cpu")
    assert loaded.options == made.options
    assert plain(loaded.rounds.state_dict()) == plain(made.rounds.state_dict())
    assert loaded.num_timesteps == made.num_timesteps and loaded._n_updates == made._n_updates
    np.testing.assert_array_equal(weights(loaded), weights(made))
    for one in (made, loaded):
        continued(one, several(name))
    np.testing.assert_array_equal(weights(loaded), weights(made))
    assert plain(loaded.rounds.state_dict()) == plain(made.rounds.state_dict())
    assert loaded.num_timesteps == steps(5)


def test_a_normalised_one_too(tmp_path):
    made = model(R2VPO, "pendulum", env=VecNormalize(several("pendulum")), **OPTIONS).learn(steps(3))
    made.save(tmp_path / "model")
    made.env.save(str(tmp_path / "statistics"))
    environments = [VecNormalize.load(str(tmp_path / "statistics"), several("pendulum")) for _ in range(2)]
    loaded = R2VPO.load(tmp_path / "model", env=environments[0], device="cpu")
    for one, env in zip((loaded, made), environments, strict=True):
        continued(one, env)
    np.testing.assert_array_equal(weights(loaded), weights(made))
    assert loaded.logger.name_to_value["train/stale_rows"] == steps(1) / 2


def test_parameters_are_passed_on():
    made = model(R2VPO, "box", **OPTIONS).learn(steps(3))
    other = model(R2VPO, "box", **OPTIONS, policy_kwargs={})
    assert plain(other.rounds.state_dict()) != plain(made.rounds.state_dict())
    other.set_parameters(made.get_parameters())
    assert plain(other.rounds.state_dict()) == plain(made.rounds.state_dict())
    np.testing.assert_array_equal(weights(other), weights(made))
    assert other.rounds.controls.step_size.scales(other.policy.optimizer)
    # The policy alone, as from PPO.
    theirs = model(PPO, "box").learn(steps(1))
    other.set_parameters({"policy": theirs.get_parameters()["policy"]}, exact_match=False)
    np.testing.assert_array_equal(weights(other), weights(theirs))


def test_parameters_of_another_algorithm_are_refused_before_anything_changes():
    mine, theirs = model(R2VPO, "box"), model(PPO, "box").learn(steps(1))
    before = weights(mine)
    with pytest.raises(ValueError, match=r"optimizer has groups of \[13\] parameters, but must have \[7, 6\]: an"):
        mine.set_parameters(theirs.get_parameters())
    np.testing.assert_array_equal(weights(mine), before)
    mine.policy.load_state_dict(theirs.policy.state_dict())
    np.testing.assert_array_equal(weights(mine), weights(theirs))


@pytest.mark.parametrize("former", [False, {"kind": "kl"}, None])
@pytest.mark.parametrize("later", [False, None])
def test_step_control_can_be_turned_on_and_off_when_loading(tmp_path, former, later):
    model(R2VPO, "box", step_control=former).learn(steps(2)).save(tmp_path / "model")
    if former and later is None:
        with pytest.raises(ValueError, match="state of the step size lacks"):
            R2VPO.load(tmp_path / "model", env=several("box"), step_control=later, device="cpu")
        return
    loaded = R2VPO.load(tmp_path / "model", env=several("box"), step_control=later, device="cpu").learn(steps(1))
    actor, critic = loaded.policy.optimizer.param_groups
    control = loaded.rounds.controls.step_size
    assert (control is None) == (later is False)
    assert control is None or (control.distance > 0 and actor["step_control"] and not critic["step_control"])


def test_load_changes_options_as_it_does_for_ppo(tmp_path):
    model(R2VPO, "box", **OPTIONS).learn(steps(2)).save(tmp_path / "model")
    changed = {"delta": 0.001, "replay_versions": 0, "objective": "spo", "dual": "closed_form", "learning_rate": 1e-4}
    loaded = R2VPO.load(tmp_path / "model", env=several("box"), device="cpu", **changed)
    assert loaded.options.delta == 0.001 and loaded.options.objective.name == "spo"
    assert loaded.options.dual.kind == "closed_form" and loaded.rounds.replay is None
    loaded.learn(steps(1))
    assert loaded.logger.name_to_value["train/decision_variance_target"] == pytest.approx(0.001)
    assert loaded.logger.name_to_value["train/stale_rows"] == 0
    with pytest.raises(ValueError, match=r"^n_epochs is 0, but must be"):
        R2VPO.load(tmp_path / "model", device="cpu", n_epochs=0)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda made: pickle.loads(pickle.dumps(made))])
def test_a_copy_continues_as_the_model(copied):
    made = model(R2VPO, "box", **OPTIONS).learn(steps(2))
    other = copied(made)
    for one in (made, other):
        continued(one, several("box"))
    np.testing.assert_array_equal(weights(other), weights(made))
    assert plain(other.rounds.state_dict()) == plain(made.rounds.state_dict())
    assert other.rounds.controls.step_size.scales(other.policy.optimizer)


def test_a_state_that_is_not_whole_is_refused():
    made = model(R2VPO, "box")
    state = made.rounds.state_dict()
    del state["last_round"]
    with pytest.raises(ValueError, match="state of the rounds lacks last_round"):
        made.rounds.load_state_dict(state)
