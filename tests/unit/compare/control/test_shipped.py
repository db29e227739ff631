"""The experiment that comes with the package is what its comments and docs/comparing.md say."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from sb3_contrib import TRPO
from stable_baselines3.common.vec_env import VecNormalize
from torch import nn

from r2vpo.compare.catalog import load_experiment
from r2vpo.compare.control.cells import ControlCell, ControlPlan
from r2vpo.compare.control.environments import make_environments
from r2vpo.compare.control.learning import build
from r2vpo.compare.control.schema import ControlExperiment
from r2vpo.config.shipped import EXPERIMENTS
from r2vpo.core.kl_adaptive import KLAdaptiveController

PATH = EXPERIMENTS.listed()["control"]
DOCS = (Path(__file__).parents[4] / "docs" / "comparing.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def plan() -> ControlPlan:
    experiment = load_experiment(PATH)
    assert isinstance(experiment, ControlExperiment)
    return ControlPlan(experiment, source=str(PATH))


def cell(plan: ControlPlan, method: str, task: str = "inverted_double_pendulum", rate: float = 1.0) -> ControlCell:
    found = [one for one in plan.cells() if (one.method, one.task_name, one.rate) == (method, task, rate)]
    return found[0]


def learner(plan: ControlPlan, method: str) -> Any:
    recipe = cell(plan, method).recipe
    return build(recipe, make_environments(recipe))


def test_it_has_the_tasks_and_runs_that_it_says(plan: ControlPlan) -> None:
    cells = plan.cells()
    assert len({one.key for one in cells}) == len(cells), "two methods are one and the same run"
    kinds = [task.kind for task in plan.experiment.tasks.values()]
    assert (len(kinds), kinds.count("sparse"), kinds.count("dynamic")) == (13, 3, 3)
    said = re.search(r"([\d,]+) runs, ([\d,]+) of them at the rate itself", PATH.read_text(encoding="utf-8"))
    assert said is not None
    counted = len(cells), sum(one.rate == 1 for one in cells)
    assert tuple(int(number.replace(",", "")) for number in said.groups()) == counted
    assert f"{counted[0]:,} runs" in DOCS
    rated = {one.method for one in cells if one.rate != 1}
    assert rated == {"ppo", "ppo_kl_adaptive", "r2vpo", "r2vpo_replay"} and plan.experiment.rates == [1.0, 3.0, 10.0]


def test_ppo_has_the_options_of_cleanrl(plan: ControlPlan) -> None:
    ppo = learner(plan, "ppo")
    assert ppo.n_steps * ppo.n_envs == 2048 and ppo.n_steps * ppo.n_envs // ppo.batch_size == 32
    assert (ppo.n_epochs, ppo.gamma, ppo.gae_lambda, ppo.ent_coef, ppo.max_grad_norm) == (10, 0.99, 0.95, 0.0, 0.5)
    assert ppo.normalize_advantage and ppo.target_kl is None and ppo.clip_range(1.0) == ppo.clip_range_vf(1.0) == 0.2
    assert 2 * ppo.vf_coef == 0.5, "its value loss is half of the squared error"
    assert [ppo.lr_schedule(left) for left in (1.0, 0.5, 0.0)] == pytest.approx([3e-4, 1.5e-4, 0.0])
    assert isinstance(ppo.policy.optimizer, torch.optim.Adam) and ppo.policy.optimizer.defaults["eps"] == 1e-5
    env = ppo.env
    assert isinstance(env, VecNormalize) and (env.clip_obs, env.clip_reward, env.gamma) == (10.0, 10.0, 0.99)
    assert env.norm_obs and env.norm_reward


def test_the_networks_are_those_of_cleanrl(plan: ControlPlan) -> None:
    policy = learner(plan, "ppo").policy
    for hidden, last, gain in (
        (policy.mlp_extractor.policy_net, policy.action_net, 0.01),
        (policy.mlp_extractor.value_net, policy.value_net, 1.0),
    ):
        layers = [one for one in hidden if isinstance(one, nn.Linear)]
        assert [one.out_features for one in layers] == [64, 64] and isinstance(hidden[1], nn.Tanh)
        for layer, scale in (*((one, 2**0.5) for one in layers), (last, gain)):
            assert torch.linalg.svdvals(layer.weight.detach()).tolist() == pytest.approx(
                [scale] * min(layer.weight.shape), rel=1e-4
            )
            assert not layer.bias.any()
    assert policy.log_std.tolist() == [0.0] * len(policy.log_std)


def test_trpo_has_the_defaults_of_sb3_contrib(plan: ControlPlan) -> None:
    defaults = {name: one.default for name, one in inspect.signature(TRPO).parameters.items()}
    options = cell(plan, "trpo").recipe.options
    different = {name: value for name, value in options.items() if defaults[name] != value}
    assert different == {"n_steps": 256}, "of each of eight environments, in place of 2,048 of one"
    assert defaults["n_steps"] == 2048 and not cell(plan, "trpo").recipe.anneal


def test_the_rate_of_ppo_follows_the_divergence_as_in_rsl_rl(plan: ControlPlan) -> None:
    step_size = learner(plan, "ppo_kl_adaptive").rounds.controls.step_size
    assert isinstance(step_size, KLAdaptiveController) and step_size.target == 0.01
    bounds = [3e-4 * scale for scale in (step_size.options.min_scale, step_size.options.max_scale)]
    assert bounds == pytest.approx([1e-5, 1e-2], rel=0.02)


RATIOS = torch.tensor([0.7, 1.0, 1.5, 1.1], dtype=torch.float64)
ADVANTAGES = torch.tensor([1.0, -0.5, 2.0, -1.5], dtype=torch.float64)


@pytest.mark.parametrize("method", ["spo", "p3o"])
def test_what_spo_and_p3o_maximise(method: str, plan: ControlPlan) -> None:
    """Loss and gradient by the formulas of their papers, at four ratios; nothing of R²VPO's constraint is added."""
    rounds = learner(plan, method).rounds
    assert rounds.controls.step_size is None and rounds.controls.dual.value == 0
    log_probs = RATIOS.log().requires_grad_()
    output = rounds.method.loss(
        log_probs=log_probs[:, None],
        old_log_probs=torch.zeros_like(RATIOS)[:, None],
        rollout_log_probs=None,
        advantages=ADVANTAGES,
        response_mask=torch.ones(4, 1, dtype=torch.bool),
        dual=rounds.controls.dual.value,
        config=rounds.method.config,
        decisions=torch.ones(4, 1, dtype=torch.float64),
    )
    (gradient,) = torch.autograd.grad(output.loss, log_probs)
    if method == "spo":
        slope = ADVANTAGES - ADVANTAGES.abs() * (RATIOS - 1) / 0.2
        expected = RATIOS * slope
    else:
        share = RATIOS.sum() ** 2 / (4 * RATIOS.square().sum())
        expected = torch.minimum(RATIOS, share) * ADVANTAGES - (1 - share) * RATIOS * RATIOS.log()
    assert gradient.tolist() == pytest.approx((-expected / 4).tolist(), rel=1e-6)


def test_r2vpo_is_the_untuned_default(plan: ControlPlan) -> None:
    """Beside what all methods share, the variants set only what they are named after."""
    own = {name: spec.set for name, spec in plan.experiment.methods.items() if name.startswith("r2vpo")}
    assert own == {
        "r2vpo": {},
        "r2vpo_fixed_rate": {"step_control": False},
        "r2vpo_replay": {"replay_versions": 1},
        "r2vpo_replay_2": {"replay_versions": 2},
    }
