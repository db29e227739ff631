"""With PPO's clipping, without step control and replay, every weight and every logged number is Stable-Baselines3's."""

import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.integrations.sb3 import R2VPO
from tests.unit.integrations.sb3.environments import model, several, steps, weights

PLAIN = {"objective": "clip", "step_control": False}
ROUNDS = 3
SQUASHED = {"use_sde": True, "sde_sample_freq": 4, "policy_kwargs": {"squash_output": True}}
CASES = {
    "box": {},
    "discrete": {},
    "multi_discrete": {},
    "multi_binary": {},
    "pendulum": {"n_epochs": 4},
    "dict": {},
    "image": {"count": 1},
}
ARGUMENTS = {
    "gSDE": {"use_sde": True, "sde_sample_freq": 4},
    "squashed": SQUASHED,
    "values clipped": {"clip_range_vf": 0.1},
    "entropy": {"ent_coef": 0.02, "vf_coef": 0.3, "gae_lambda": 0.8, "max_grad_norm": 0.1},
    "not normalised": {"normalize_advantage": False},
    "schedule": {"learning_rate": lambda remaining: 1e-3 * remaining},
    "a bound on KL": {"target_kl": 1e-5},
    "odd minibatches": {"batch_size": 24},
    "a row alone": {"batch_size": 21},
    "one step a round": {"batch_size": 1000, "n_epochs": 1},
    "rounds of two rows": {"n_steps": 1, "batch_size": 2, "gae_lambda": 1.0},
    "no discount": {"gamma": 0.0},
    "another optimizer": {"policy_kwargs": {"optimizer_class": torch.optim.SGD, "net_arch": [8]}},
    "features apart": {"policy_kwargs": {"share_features_extractor": False, "log_std_init": -2.0}},
}


def pair(name, rounds=ROUNDS, **arguments):
    # One after the other: each seeds the global generators when it is built.
    theirs = model(PPO, name, **arguments)
    theirs.learn(steps(rounds, theirs.n_envs))
    mine = model(R2VPO, name, **PLAIN, **arguments)
    return theirs, mine.learn(steps(rounds, mine.n_envs))


def same(theirs, mine):
    np.testing.assert_allclose(weights(mine), weights(theirs), atol=1e-6, rtol=0)
    logged = {name: value for name, value in theirs.logger.name_to_value.items() if name.startswith("train/")}
    del logged["train/clip_range"]
    assert "train/approx_kl" in logged and "train/explained_variance" in logged
    for name, value in logged.items():
        assert mine.logger.name_to_value[name] == pytest.approx(value, rel=1e-3, abs=1e-5), name


@pytest.mark.parametrize("name", CASES)
def test_every_space(name):
    same(*pair(name, **CASES[name]))


@pytest.mark.filterwarnings("ignore:.*mini-batch:UserWarning", "ignore:.*batch_size:UserWarning")
@pytest.mark.parametrize("what", ARGUMENTS)
def test_every_argument(what):
    theirs, mine = pair("pendulum", **ARGUMENTS[what])
    same(theirs, mine)
    assert mine._n_updates == theirs._n_updates


def test_normalised_observations_and_rewards():
    theirs = model(PPO, "pendulum", env=VecNormalize(several("pendulum"))).learn(steps(7))
    mine = model(R2VPO, "pendulum", env=VecNormalize(several("pendulum")), **PLAIN).learn(steps(7))
    same(theirs, mine)
    assert theirs.env.ret_rms.count == mine.env.ret_rms.count > 400, "time limits have ended episodes"


def test_another_objective_is_not_ppo():
    theirs = model(PPO, "pendulum", n_epochs=6).learn(steps(ROUNDS))
    mine = model(R2VPO, "pendulum", n_epochs=6, step_control=False).learn(steps(ROUNDS))
    assert not np.allclose(weights(mine), weights(theirs), atol=1e-6)
