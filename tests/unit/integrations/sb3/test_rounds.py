"""A round's loss, targets and measurements are those of the core; rates that differ give the same steps."""

import copy

import numpy as np
import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.ratios import logit_movement
from r2vpo.integrations.sb3 import R2VPO
from r2vpo.integrations.sb3.losses import minibatch_losses
from r2vpo.integrations.sb3.rounds import MEASURED_AGAIN
from r2vpo.integrations.sb3.rows import fresh_rows
from tests.oracles.cases import OWN
from tests.oracles.objectives import oracle
from tests.unit.integrations.sb3.environments import model, steps


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
