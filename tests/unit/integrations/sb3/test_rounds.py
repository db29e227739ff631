"""A round's loss, targets and measurements are those of the core; rates that differ give the same steps."""

import copy
import warnings

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from stable_baselines3.common.vec_env import DummyVecEnv

from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.ratios import logit_movement
from r2vpo.integrations.sb3 import R2VPO
from r2vpo.integrations.sb3.losses import minibatch_losses
from r2vpo.integrations.sb3.rounds import MEASURED_AGAIN
from r2vpo.integrations.sb3.rows import fresh_rows
from tests.oracles.cases import OWN
from tests.oracles.objectives import oracle
from tests.unit.integrations.sb3.environments import made as environment
from tests.unit.integrations.sb3.environments import model, steps, weights


def collected(made, rounds=1):
    """The rows of a model's last rollout buffer, as they were before it trained on them."""
    made.learn(steps(rounds))
    made.rollout_buffer.generator_ready = False
    return fresh_rows(made.rollout_buffer, made.policy)


def moved(rows, seed=0):
    """Rows whose anchors and samplers were other policies."""
    g = torch.Generator().manual_seed(seed)
    noise = 0.3 * torch.randn(2, len(rows), generator=g)
    return type(rows)(
        **{
            **vars(rows),
            "old_log_probs": rows.old_log_probs + noise[0],
            "rollout_log_probs": rows.rollout_log_probs + noise[1],
        }
    )


@pytest.mark.parametrize("name", ["box", "multi_discrete", "discrete"])
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_loss_and_gradient_are_the_oracles(objective, name):
    own = {key: value for key, value in OWN[objective].items() if key != "delta"}
    level = "response" if objective == "gspo" else "token"
    dual = {"kind": "fixed", "value": 1.7}
    made = model(R2VPO, name, objective={"name": objective, "options": own}, delta=0.05, dual=dual)
    rows = moved(collected(made))
    made.rounds.begin(rows, advantages=rows.advantages, steps=1)
    log_probs = rows.rollout_log_probs + 0.2
    log_probs.requires_grad_()
    output = made.rounds.loss(log_probs, rows, rows.advantages)
    (gradient,) = torch.autograd.grad(output.loss, log_probs)
    config = made.rounds.method.config
    o = {
        "anchor": "proximal", "level": level, "aggregation": "token_mean", "constant": None,
        "stale_weight_cap": config.stale_weight_cap, "ratio_variance_delta": None, "dual": 1.7, **own,
        "target": config.constraint_target,
    }  # fmt: skip
    expected_log_probs = log_probs.detach().double()[:, None].requires_grad_()
    loss, numerator, denominator = oracle(
        objective,
        expected_log_probs,
        rows.old_log_probs.double()[:, None],
        rows.advantages.double(),
        torch.ones(len(rows), 1, dtype=torch.bool),
        rows.rollout_log_probs.double()[:, None],
        o,
        decisions=rows.decisions.double()[:, None],
    )
    (expected,) = torch.autograd.grad(loss, expected_log_probs)
    torch.testing.assert_close(output.loss.double(), loss.detach(), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(gradient.double(), expected[:, 0], rtol=1e-4, atol=1e-6)
    assert output.constraint.to_tensor().tolist() == pytest.approx([numerator, denominator], rel=1e-4)


def test_the_critic_and_the_entropy_by_hand():
    made = model(R2VPO, "box")
    rows = collected(made)
    made.rounds.begin(rows, advantages=rows.advantages, steps=1)
    losses = minibatch_losses(made.policy, made.rounds, rows, normalize_advantage=True, clip_range_vf=0.05)
    values, _, entropy = made.policy.evaluate_actions(rows.observations, rows.actions)
    clipped = rows.values + (values.flatten() - rows.values).clamp(-0.05, 0.05)
    assert not torch.equal(clipped, values.flatten())
    torch.testing.assert_close(losses.value, (rows.returns - clipped).square().mean())
    torch.testing.assert_close(losses.entropy, -entropy.mean())
    advantages = losses.policy.advantages.flatten()
    assert float(advantages.mean()) == pytest.approx(0, abs=1e-6) and float(advantages.std()) == pytest.approx(1)


def test_delta_is_the_target_of_a_round_and_of_its_multiplier():
    made = model(R2VPO, "box", delta=0.03).learn(steps(2))
    controls = made.rounds.controls
    assert controls.target == controls.step_size.target == controls.dual.target == pytest.approx(0.03)
    # lambda* = sqrt(E[A^2] / (2 delta)) / 2, for advantages of variance 1 and one dimension.
    assert controls.dual.value == pytest.approx((1 / 0.06) ** 0.5 / 2, rel=0.02)


def test_the_whole_round_is_measured_on_a_quarter_of_its_rows():
    made = model(R2VPO, "pendulum", n_epochs=6)
    made.learn(steps(1))
    before = copy.deepcopy(made.policy)
    made.learn(steps(1), reset_num_timesteps=False)
    made.rollout_buffer.generator_ready = False
    rows = fresh_rows(made.rollout_buffer, before)
    some = torch.arange(0, len(rows), MEASURED_AGAIN)
    seen = rows.observations[some], rows.actions[some]
    with torch.no_grad():
        old, now = (policy.evaluate_actions(*seen)[1][:, None] for policy in (before, made.policy))
    mask = torch.ones_like(now, dtype=torch.bool)
    expected = logit_movement(now, old, mask, decisions=torch.ones_like(now)).to_tensor()
    torch.testing.assert_close(made.rounds.state_dict()["last_round"], expected, rtol=1e-3, atol=1e-6)
    logged = made.logger.name_to_value
    assert logged["train/decision_variance"] == pytest.approx(float((expected[0] / expected[1]).expm1()), rel=1e-3)
    assert logged["train/ratio_variance"] == pytest.approx(float((now - old).expm1().square().mean()), rel=1e-3)
    # The next round starts with this measurement.
    weight = made.rounds.controls.state_dict()["step_size"]["weight"]
    made.learn(steps(1), reset_num_timesteps=False)
    assert made.rounds.controls.state_dict()["step_size"]["weight"] > weight


def logged(rate, rounds=14):
    """V_d of each round and the scale of its last step, as geometric means, and the median of V_d."""
    found = []
    made = model(R2VPO, "pendulum", learning_rate=rate, n_epochs=8, gamma=0.9, delta=0.02)
    for _ in range(rounds):
        made.learn(steps(1), reset_num_timesteps=False)
        found.append([made.logger.name_to_value[f"train/{name}"] for name in ("decision_variance", "step_scale")])
    return *np.exp(np.mean(np.log(found), axis=0)), np.median(found, axis=0)[0]


def test_the_learning_rate_does_not_matter():
    movement, scale, median = logged(1e-3)
    for factor in (10.0, 0.1):
        found, other, _ = logged(1e-3 * factor)
        # Every round is a different one after the first step, and the critic's rate differs: rounds agree as a whole.
        assert 1 / 3 < found / movement < 3
        assert 0.4 < scale / other / factor < 2.5
    assert median == pytest.approx(0.02, rel=1)


def test_a_schedule_shapes_the_steps_and_is_not_compensated():
    made = model(R2VPO, "box", learning_rate=lambda remaining: 1e-3 * remaining).learn(steps(4))
    for group in made.policy.optimizer.param_groups:
        assert group["initial_lr"] == 1e-3 and group["lr"] == pytest.approx(0.0, abs=1e-12)
    # No distance in the last round, whose rate was 0.
    assert made.rounds.controls.step_size.distance == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("lowest", [0.0, 1e-6])
def test_a_schedule_that_rises_first_is_followed_too(lowest):
    """Its highest rate is what counts, not its first: with that one, steps became a thousand times too long."""
    made = model(R2VPO, "box", learning_rate=lambda left: max(lowest, 1e-3 * min(1.0, (1.0 - left) / 0.3)))
    moved = []
    made.learn(
        steps(20),
        callback=lambda *_: moved.append(made.logger.name_to_value.get("train/decision_variance", 0.0)) or True,
    )
    assert all(group["initial_lr"] == pytest.approx(1e-3) for group in made.policy.optimizer.param_groups)
    assert 0.1 * made.options.delta < np.median(moved[len(moved) // 2 :]) < 10 * made.options.delta
    assert max(moved) < 1.0


def test_a_last_round_beyond_the_steps_does_not_unlearn():
    """Stable-Baselines3 counts the share of training that is left below 0 there, and a linear schedule with it."""
    rates = []
    made = model(R2VPO, "box", learning_rate=lambda remaining: 1e-3 * remaining, clip_range_vf=lambda left: 0.1 + left)
    before = []
    made.learn(
        steps(1) + 1,
        callback=lambda *_: (
            before.append(weights(made)) or rates.append(made.policy.optimizer.param_groups[0]["lr"]) or True
        ),
    )
    assert made.num_timesteps == steps(2)
    assert made.policy.optimizer.param_groups[0]["lr"] == 0.0
    np.testing.assert_array_equal(weights(made), before[-1])
    assert made.logger.name_to_value["train/clip_range_vf"] == pytest.approx(0.1)


class Rewards(gymnasium.RewardWrapper):
    """Pendulum whose reward is a fixed number from some step on."""

    def __init__(self, reward, after):
        super().__init__(environment("pendulum"))
        self.value, self.left = reward, after

    def reward(self, reward):
        self.left -= 1
        return reward if self.left >= 0 else self.value


@pytest.mark.parametrize("replay", [0, 1])
@pytest.mark.parametrize("reward", [float("nan"), float("inf"), 3e38])
def test_a_reward_that_is_not_finite_trains_nothing(reward, replay):
    env = DummyVecEnv([lambda: Rewards(reward, steps(1, 1) + 3)])
    made = model(R2VPO, "pendulum", env=env, replay_versions=replay)
    made.learn(steps(1, 1))
    before = weights(made)
    with pytest.raises(ValueError, match=r"^the advantages of this round are NaN or infinite, because a reward is"):
        made.learn(steps(3, 1), reset_num_timesteps=False)
    np.testing.assert_array_equal(weights(made), before)


def test_a_critic_that_has_diverged_ends_the_training():
    made = model(R2VPO, "pendulum").learn(steps(1))
    with torch.no_grad():
        made.policy.value_net.weight.fill_(float("inf"))
    with pytest.raises(ValueError, match=r"^the critic's values are NaN or infinite: its weights have diverged. Lower"):
        made.learn(steps(1), reset_num_timesteps=False)


class Dropout(FlattenExtractor):
    """Features of which some are left out in training."""

    def __init__(self, space, share):
        super().__init__(space)
        self.dropout = torch.nn.Dropout(share)

    def forward(self, observations):
        return self.dropout(super().forward(observations))


@pytest.mark.parametrize(("share", "arguments", "warned"), [
    (0.5, {}, 1), (0.0, {}, 0), (0.5, {"step_control": False, "objective": "clip"}, 0),
])  # fmt: skip
def test_a_policy_that_computes_something_else_in_training_causes_one_warning(share, arguments, warned):
    policy = {"features_extractor_class": Dropout, "features_extractor_kwargs": {"share": share}, "ortho_init": False}
    policy["log_std_init"] = -2.0
    made = model(R2VPO, "pendulum", policy_kwargs=policy, n_epochs=1, replay_versions=1, **arguments)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        made.learn(steps(5))
    found = [str(one.message) for one in caught if "before the first step of a round, V_d is" in str(one.message)]
    assert len(found) == warned
