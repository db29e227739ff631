"""What `R2VPO` is given: the method's options in every form, and one line for each mistake."""

import subprocess
import sys

import numpy as np
import pytest
from gymnasium import spaces
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.envs import IdentityEnvBox

from r2vpo.core.options import DualOptions
from r2vpo.integrations.sb3 import R2VPO, CnnPolicy, MlpPolicy, MultiInputPolicy
from r2vpo.integrations.sb3.options import DELTA
from tests.unit.integrations.sb3.environments import ENVIRONMENTS, model, steps


def rejected(match, **arguments):
    with pytest.raises(ValueError, match=match) as caught:
        model(R2VPO, "box", **arguments)
    assert "\n" not in str(caught.value)


def test_the_defaults():
    made = model(R2VPO, "box")
    method, controls = made.rounds.method, made.rounds.controls
    assert method.options.objective.name == "r2vpo"
    assert method.options.objective.delta == method.config.delta == method.options.delta == DELTA
    assert controls.step_size.scales(made.policy.optimizer)
    assert made.rounds.replay is None


@pytest.mark.parametrize(
    "objective",
    ["clip", {"name": "clip"}, {"name": "r2vpo", "options": {"brake": "two_sided"}}, {"name": "spo"}],
)
def test_an_objective_in_every_form(objective):
    made = model(R2VPO, "box", objective=objective, delta=0.2)
    name = objective if isinstance(objective, str) else objective["name"]
    assert made.rounds.method.options.objective.name == name
    assert made.rounds.method.options.objective.delta == 0.2
    if name == "r2vpo":
        assert made.rounds.method.config.brake == "two_sided"


def test_a_multiplier_and_step_control_in_short():
    made = model(R2VPO, "box", dual="ascent", step_control=False)
    assert made.rounds.method.options.dual == DualOptions(kind="ascent")
    assert made.rounds.controls.step_size is None
    kl = model(R2VPO, "box", objective="clip", step_control={"kind": "kl", "target_kl": 0.02})
    assert kl.rounds.controls.step_size.scales(kl.policy.optimizer)
    assert all(group["step_control"] for group in kl.policy.optimizer.param_groups), "one rate for actor and critic"


def test_the_aliases_of_policies():
    assert R2VPO.policy_aliases == {
        "MlpPolicy": MlpPolicy,
        "CnnPolicy": CnnPolicy,
        "MultiInputPolicy": MultiInputPolicy,
    }


def test_mistakes_are_named_in_one_line():
    rejected("^delta is 0; it must be at least 1e-09$", delta=0)
    rejected("^delta is 'a'; it must be a number$", delta="a")
    rejected("objective.delta is an argument of R2VPO itself: write", objective={"name": "r2vpo", "delta": 0.1})
    rejected("^unknown key objective.brake", objective={"name": "r2vpo", "brake": "outward"})
    rejected("objective.name is 'ppp'; choose one of r2vpo, clip", objective="ppp")
    rejected("^dual.kind is 'x'; choose one of ascent", dual="x")
    rejected("^step_control.grow is 0.5; it must be above 1$", step_control={"grow": 0.5})
    rejected("^replay_versions is -1; it must be at least 0$", replay_versions=-1)
    rejected(
        "^replay_versions = 2 keeps transitions that replay_ratio = 0 never uses: set",
        replay_versions=2,
        replay_ratio=0,
    )
    rejected("^batch_size is 1, but must be a number, finite and at least 2: pass a larger one, or norm", batch_size=1)
    rejected("^n_epochs is 0, but must be a number, finite and at least 1", n_epochs=0)
    rejected("^n_epochs is 2.5, but must be a whole number: pass one$", n_epochs=2.5)
    rejected("^batch_size is 32.0, but must be a whole number: pass one$", batch_size=32.0)
    rejected("^n_steps is True, but must be a whole number", n_steps=True)
    rejected("^max_grad_norm is None, but must be a number, greater than 0: pass a large", max_grad_norm=None)
    rejected("^clip_range_vf is -1, but must be a number, finite and greater than 0: pass None", clip_range_vf=-1)
    rejected("^target_kl is 0, but must be", target_kl=0)
    rejected("^delta is a schedule, but must be a number: give one, and let a", delta=lambda remaining: 0.1 * remaining)
    rejected(
        "^learning_rate with 0 of the training left is -0.001, but must be a number, finite and at least 0: let",
        learning_rate=lambda remaining: 1e-3 if remaining else -1e-3,
    )
    rejected(
        "^learning_rate with 0 of the training left is nan", learning_rate=lambda left: 1e-3 if left else float("nan")
    )
    rejected(r"^n_steps \* n_envs is 1, but must be", n_steps=1, count=1)


def test_numbers_of_numpy_are_numbers():
    made = model(
        R2VPO, "box", n_steps=np.int64(32), batch_size=np.int32(16), delta=np.float32(0.5), target_kl=np.float32(0.25),
        clip_range_vf=np.float64(0.5), replay_versions=np.int64(2), replay_ratio=np.float32(0.5),
    )  # fmt: skip
    assert made.options.delta == 0.5 and made.options.replay_versions == 2 and made.options.replay_ratio == 0.5
    assert type(made.n_steps) is type(made.batch_size) is int and made.target_kl == 0.25


def test_the_kl_rule_needs_rounds_of_several_steps():
    one = {"n_epochs": 1, "batch_size": 64}
    rejected(
        "^step_control.kind = kl measures how far .* has one step: raise n_epochs, or",
        step_control={"kind": "kl"},
        **one,
    )
    model(R2VPO, "box", step_control={"kind": "kl"}, n_epochs=2, batch_size=64)
    model(R2VPO, "box", **one)


def test_actions_that_the_buffer_would_round_are_refused(monkeypatch):
    def whole():
        env = IdentityEnvBox(ep_length=7)
        env.action_space = spaces.Box(0, 10, (2,), np.int64)
        return env

    monkeypatch.setitem(ENVIRONMENTS, "box", whole)
    rejected("^the action space is a Box of int64, in which .* use MultiDiscrete, or a Box of float32 and round in the")


@pytest.mark.parametrize("changed", [{"delta": 0.01}, {"objective": "clip"}, {"replay_versions": 1}])
def test_an_option_that_is_assigned_too_late_is_refused(changed):
    made = model(R2VPO, "box").learn(steps(1))
    for name, value in changed.items():
        setattr(made, name, value)
    with pytest.raises(ValueError, match=r"^an option of R2VPO \(objective, delta, .*save the model and load it with"):
        made.learn(steps(1), reset_num_timesteps=False)


def test_a_buffer_with_its_own_get_is_refused():
    class Other(RolloutBuffer):
        def get(self, batch_size=None):
            return super().get(batch_size)

    rejected("^rollout_buffer_class = Other has a get", rollout_buffer_class=Other)


def test_a_buffer_with_its_own_advantages_is_refused_with_replay():
    class Other(RolloutBuffer):
        def compute_returns_and_advantage(self, last_values, dones):
            super().compute_returns_and_advantage(last_values, dones)
            self.advantages *= 2

    model(R2VPO, "box", rollout_buffer_class=Other).learn(steps(1))
    rejected("^rollout_buffer_class = Other has its own comp", rollout_buffer_class=Other, replay_versions=1)


def test_a_short_last_minibatch_is_a_warning():
    with pytest.warns(
        UserWarning, match=r"^batch_size = 24 does not divide n_steps \* n_envs = 64: the last minibatch"
    ):
        model(R2VPO, "box", batch_size=24)


def test_without_the_package_one_line_says_how_to_install_it():
    code = "import sys; sys.modules['stable_baselines3'] = None; import r2vpo.integrations.sb3"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    last = done.stderr.strip().splitlines()[-1]
    wanted = "needs stable-baselines3, which is not installed: pip install 'r2vpo[sb3]'"
    assert last == f"ModuleNotFoundError: r2vpo.integrations.sb3 {wanted}"
