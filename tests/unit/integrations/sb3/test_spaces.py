"""Every space, policy and wrapper: R²VPO trains, counts decisions, logs, predicts, and calls callbacks."""

import numpy as np
import pytest
import torch
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.core.ratios import CERTAIN
from r2vpo.integrations.sb3 import R2VPO
from r2vpo.integrations.sb3.rows import fresh_rows
from tests.unit.integrations.sb3.environments import ENVIRONMENTS, model, several, steps, weights

SDE = {"use_sde": True, "sde_sample_freq": 4}
THEIRS = [
    "approx_kl", "clip_fraction", "entropy_loss", "explained_variance", "learning_rate", "loss", "n_updates",
    "policy_gradient_loss", "value_loss",
]  # fmt: skip
OURS = [
    "decision_variance", "decision_variance_target", "dual", "ratio_variance", "stale_effective_sample_size",
    "stale_rows", "step_scale",
]  # fmt: skip


@pytest.mark.parametrize("name", ENVIRONMENTS)
def test_it_trains_and_logs(name):
    made = model(R2VPO, name, replay_versions=2)
    before = weights(made)
    made.learn(steps(3))
    assert np.isfinite(weights(made)).all() and not np.array_equal(weights(made), before)
    logged = made.logger.name_to_value
    assert all(np.isfinite(logged[f"train/{one}"]) for one in THEIRS + OURS)
    assert logged["train/stale_rows"] == steps(1) and logged["train/n_updates"] == 3 * made.n_epochs
    assert 0 < logged["train/stale_effective_sample_size"] <= 1
    action, _ = made.predict(made.env.reset(), deterministic=True)
    assert len(action) == 2


@pytest.mark.parametrize("more", [SDE, {**SDE, "policy_kwargs": {"squash_output": True}}])
def test_state_dependent_noise(more):
    made = model(R2VPO, "pendulum", replay_versions=1, **more).learn(steps(3))
    assert np.isfinite(weights(made)).all()
    assert made.logger.name_to_value["train/decision_variance"] > 0


def test_the_number_of_decisions():
    def of(name):
        made = model(R2VPO, name)
        made.learn(steps(1))
        made.rollout_buffer.generator_ready = False
        return made, fresh_rows(made.rollout_buffer, made.policy)

    _, box = of("box")
    assert (box.decisions == 1).all()
    _, discrete = of("discrete")
    torch.testing.assert_close(discrete.decisions, 1 - discrete.old_log_probs.exp() + CERTAIN)
    for name, choices in (("multi_discrete", 3 + 2), ("multi_binary", 3)):
        made, rows = of(name)
        # By hand: the probability of each part, from the logits of the policy's last layer.
        with torch.no_grad():
            features = made.policy.extract_features(rows.observations)
            logits = made.policy.action_net(made.policy.mlp_extractor.forward_actor(features))
        assert logits.shape[1] == choices
        if name == "multi_binary":
            taken = torch.where(rows.actions == 1, logits.sigmoid(), 1 - logits.sigmoid())
        else:
            parts = logits.split([3, 2], dim=1)
            picks = zip(parts, rows.actions.long().unbind(1), strict=True)
            taken = torch.stack([part.softmax(1)[range(len(rows)), pick] for part, pick in picks], 1)
        torch.testing.assert_close(rows.decisions, (1 - taken + CERTAIN).sum(1))


def test_values_are_clipped_by_a_schedule_that_is_logged():
    made = model(R2VPO, "box", clip_range_vf=lambda remaining: 0.1 + remaining).learn(steps(2))
    assert made.logger.name_to_value["train/clip_range_vf"] == pytest.approx(0.1)


def test_a_callback_can_stop_it():
    class Stop(BaseCallback):
        def _on_step(self) -> bool:
            return self.num_timesteps < steps(1) + 10

    made = model(R2VPO, "box", replay_versions=1).learn(steps(5), callback=Stop())
    assert made.num_timesteps == steps(1) + 10 and made._n_updates == made.n_epochs


def test_a_progress_bar():
    model(R2VPO, "box").learn(steps(1), progress_bar=True)


def test_normalised_environments():
    env = VecNormalize(several("pendulum"))
    made = model(R2VPO, "pendulum", env=env, replay_versions=2).learn(steps(4))
    assert np.isfinite(weights(made)).all()
    assert made.logger.name_to_value["train/stale_rows"] == steps(1)
