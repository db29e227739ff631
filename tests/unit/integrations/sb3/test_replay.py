"""Stale segments: what is kept of a round, and what the present policy and critic make of it."""

import copy

import numpy as np
import pytest
import torch
from stable_baselines3.common.vec_env import VecNormalize

from r2vpo.core.returns import truncated_gae
from r2vpo.integrations.sb3 import R2VPO
from r2vpo.integrations.sb3.replay import minibatches
from r2vpo.integrations.sb3.rows import fresh_rows
from tests.unit.integrations.sb3.environments import SMALL, model, several, steps

GAE = {"gamma": 0.9, "gae_lambda": 0.8}
T, E = SMALL["n_steps"], 2


def segment_of(name, **more):
    """A model after one round, the segment that it has kept, and its policy before that round."""
    made = model(R2VPO, name, replay_versions=2, **GAE, **more)
    before = copy.deepcopy(made.policy)
    made.learn(steps(1))
    (segment,) = made.rounds.replay._segments
    return made, segment, before


def by_environment(flat):
    """Rows of the buffer, environment by environment, as (T, E)."""
    return flat.view(E, T).T


@pytest.mark.parametrize("name", ["box", "multi_binary", "discrete", "dict", "image", "pendulum"])
def test_under_the_policy_that_collected_it_a_segment_is_the_rollout_buffer(name):
    """Advantages and targets too, across episodes that a time limit has ended."""
    made, segment, before = segment_of(name)
    made.rollout_buffer.generator_ready = False
    expected = fresh_rows(made.rollout_buffer, before)
    rows = segment.rows(before, made.env, **GAE)
    for one in ("values", "advantages", "returns", "old_log_probs", "rollout_log_probs", "decisions"):
        mine, theirs = getattr(rows, one).view(T, E), by_environment(getattr(expected, one))
        torch.testing.assert_close(mine, theirs, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(rows.actions.view(T, E, -1), expected.actions.view(E, T, -1).transpose(0, 1))
    if name in ("box", "multi_binary", "discrete"):
        assert len(segment.cut) == E * (T // 7) and segment.starts[1:].sum() == len(segment.cut)


def test_a_later_policy_bootstraps_with_its_own_critic_and_truncates_the_traces():
    made, segment, before = segment_of("box")
    for _ in range(4):
        made.learn(steps(1), reset_num_timesteps=False)
    policy = made.policy
    rows = segment.rows(policy, made.env, **GAE)
    with torch.no_grad():
        values = policy.predict_values(segment.observations.flatten(0, 1)).view(T + 1, E)
        final = policy.predict_values(segment.final).flatten()
        now = policy.evaluate_actions(segment.observations[:-1].flatten(0, 1), segment.actions.flatten(0, 1))[1]
    ends = torch.zeros(T, E, dtype=torch.bool)
    after = values[1:].clone()
    for (t, e), value in zip(segment.cut.tolist(), final, strict=True):
        ends[t, e], after[t, e] = True, value
    weights = (now.view(T, E) - segment.log_probs).exp().clamp(max=1)
    assert (weights < 0.99).any()
    advantages, returns = truncated_gae(
        rewards=segment.rewards, values=values[:-1], next_values=after, ends=ends, weights=weights, **GAE
    )
    torch.testing.assert_close(rows.advantages.view(T, E), advantages)
    torch.testing.assert_close(rows.returns.view(T, E), returns)
    torch.testing.assert_close(rows.old_log_probs, now)
    # Rewards are those of the environment: 1 or 0, without the value of a final observation.
    torch.testing.assert_close(segment.rewards, segment.rewards.round(), rtol=0, atol=1e-6)
    assert 0 <= segment.rewards.round().mean() <= 1
    assert not torch.allclose(values[:-1], segment.rows(before, made.env, **GAE).values.view(T, E))


def test_segments_are_normalised_by_the_present_statistics():
    env = VecNormalize(several("pendulum"))
    made, segment, before = segment_of("pendulum", env=env)
    assert segment.raw and segment.observations[..., :2].abs().max() <= 1  # a cosine and a sine
    rewards = segment.rewards
    assert (rewards <= 0).all() and rewards.min() < -1
    first = segment.rows(before, made.env, **GAE)
    made.learn(steps(3), reset_num_timesteps=False)
    later = segment.rows(before, made.env, **GAE)
    expected = env.normalize_obs(segment.observations[:-1].flatten(0, 1).numpy())
    np.testing.assert_allclose(later.observations.numpy(), expected, rtol=1e-6)
    assert not torch.allclose(first.observations, later.observations)
    # One that is used without the statistics is left out.
    draw = made.rounds.replay.draw
    assert draw(10, made.policy, env, **GAE) is not None
    assert draw(10, made.policy, env.venv, **GAE) is None


@pytest.mark.parametrize(
    ("versions", "ratio", "drawn"), [(1, 1.0, [0, 1, 1, 1]), (3, 2.0, [0, 1, 2, 2]), (2, 0.25, [0, 0.25, 0.25, 0.25])]
)
def test_how_many_rows_a_round_draws(versions, ratio, drawn):
    made = model(R2VPO, "box", replay_versions=versions, replay_ratio=ratio)
    for share in drawn:
        made.learn(steps(1), reset_num_timesteps=False)
        assert made.logger.name_to_value["train/stale_rows"] == share * steps(1)
    assert len(made.rounds.replay._segments) == versions


def test_every_minibatch_has_its_share_of_stale_rows():
    made = model(R2VPO, "box", replay_versions=1)
    parts = list(minibatches(64, 30, 16, made.rounds.replay))
    assert [len(part) for part in parts] == [24, 24, 23, 23]
    assert sorted(torch.cat(parts).tolist()) == list(range(94))
    assert all((part < 64).sum() == 16 for part in parts)


def test_replay_changes_what_is_learned_and_only_after_the_first_round():
    plain, replayed = (model(R2VPO, "box", replay_versions=versions) for versions in (0, 1))
    for one in (plain, replayed):
        one.set_random_seed(3)
        one.set_env(several("box"))
    for round_, equal in enumerate((True, False)):
        found = []
        for one in (plain, replayed):
            one.set_random_seed(round_)
            one.set_env(several("box"))
            one.learn(steps(1), reset_num_timesteps=False)
            found.append(torch.cat([value.flatten() for value in one.policy.state_dict().values()]))
        assert torch.equal(*found) == equal
