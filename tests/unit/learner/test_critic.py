"""What a critic computes at a round's start: advantages, value targets, explained variance, lambda and the radius."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.dual import closed_form_dual
from r2vpo.learner import Learner, MicroBatch
from tests.oracles import critic as oracle
from tests.tolerances import FLOAT32
from tests.unit.learner.critic_rounds import built, forward, rounds, sampled


def expected(micros: list[MicroBatch], options: CriticOptions) -> tuple[list[list[float]], list[list[float]]]:
    """Normalised advantages and targets by the loops, the rows of all micro-batches one after the other."""
    rewards, values, mask, weights = [], [], [], []
    for micro in micros:
        for place, row in enumerate(micro.rollouts):
            width = micro.response_mask.shape[1]
            kept = [bool(one) and row.scored for one in row.response_mask] + [False] * (width - len(row.response_mask))
            c = (micro.old_log_probs[place, : len(row.response_ids)] - row.rollout_log_probs).clamp(max=0).exp()
            c = torch.ones_like(c) if micro.staleness[place] == 0 else c
            rewards.append(row.reward)
            values.append(micro.values[place].tolist())
            mask.append(kept)
            weights.append(c.tolist() + [0.0] * (width - len(c)))
    advantages, targets = oracle.gae(rewards, values, mask, options.gamma, options.gae_lambda, weights)
    return oracle.normalized(advantages, mask), targets


def assert_as_expected(learner: Learner) -> None:
    advantages, targets = expected(learner.micros, learner.critic.options)
    start = 0
    for micro in learner.micros:
        rows = len(micro.rollouts)
        mine = slice(start, start + rows)
        torch.testing.assert_close(micro.advantages, torch.tensor(advantages[mine]), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(micro.targets, torch.tensor(targets[mine]), **FLOAT32)
        start += rows


@pytest.mark.parametrize("options", [{}, {"gamma": 0.9, "gae_lambda": 0.5}])
def test_advantages_of_fresh_and_stale_rows(options: dict[str, float]) -> None:
    learner, model, optimizer = built(critic=options)
    rounds(learner, model, optimizer, range(1))
    assert_as_expected(learner)
    assert all(int(micro.staleness.max()) == 0 for micro in learner.micros)
    rounds(learner, model, optimizer, range(1, 3))
    stale = torch.cat([micro.staleness for micro in learner.micros])
    assert 0 < int((stale > 0).sum()) < len(stale)
    weights = [
        (micro.old_log_probs - micro.rollout_log_probs)[micro.response_mask & (micro.staleness > 0)[:, None]]
        for micro in learner.micros
    ]
    assert torch.cat(weights).abs().max() > 0.01, "the policy has moved since the stale rows were sampled"
    assert_as_expected(learner)


def test_values_are_recomputed_at_each_round() -> None:
    learner, model, optimizer = built()
    rounds(learner, model, optimizer, range(1))
    with torch.no_grad():
        model.critic.add_(1.0)
    learner.begin_round(model, sampled(model, 1), 1)
    for micro in learner.micros:
        assert torch.equal(micro.values, forward(model, micro).values.detach())
    assert_as_expected(learner)


def test_rows_without_a_score_count_nowhere() -> None:
    learner, model, _ = built(versions=0)
    fresh = sampled(model, 0)
    for group in fresh[1:3]:
        group.rollouts[2].scored, group.rollouts[2].reward = False, 1e6
    learner.begin_round(model, fresh, 0)
    assert_as_expected(learner)
    losses = []
    for micro in learner.micros:
        micro.values[~micro.scored] = 1e6
        current = learner.policy(model, micro)
        gradients = torch.autograd.grad(
            learner.loss(current, micro, first_pass=True), (current.log_probs, current.values)
        )
        for gradient in gradients:
            assert (gradient[~micro.scored] == 0).all() and (gradient[micro.scored] != 0).any()
        losses.append(learner.finish_step()["value_loss"])
    assert max(losses) < 1e3


def test_explained_variance() -> None:
    learner, model, _ = built(versions=0)
    learner.begin_round(model, sampled(model, 0), 0)
    values, targets = (
        torch.cat([getattr(micro, name)[micro.scored_mask] for micro in learner.micros])
        for name in ("values", "targets")
    )
    wanted = 1 - float((targets - values).var() / targets.var())
    micro = learner.micros[0]
    learner.loss(learner.policy(model, micro), micro, first_pass=True)
    assert learner.finish_step()["explained_variance"] == pytest.approx(wanted, rel=1e-4)


def test_lambda_and_the_radius_are_those_of_the_tokens() -> None:
    learner, model, _ = built(versions=0)
    learner.begin_round(model, sampled(model, 0), 0)
    squared = decided = 0.0
    sizes = []
    for micro in learner.micros:
        for A, mask, logs in zip(micro.advantages, micro.response_mask, micro.old_log_probs, strict=True):
            squared += float(A[mask].square().sum())
            decided += float((1.001 - logs[mask].exp()).sum())
            sizes.append(float(A[mask].abs().mean()))
    n = sum(sizes) ** 2 / sum(one**2 for one in sizes)
    assert 1 < n < len(sizes)
    controls = learner.controls
    assert controls.informative == pytest.approx(n, rel=1e-4)
    assert controls.target == pytest.approx(n / 64, rel=1e-4)
    assert controls.dual.value == pytest.approx(closed_form_dual(squared / decided, n / 64), rel=1e-4)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda found: found._replace(values=None), r"with values \(\d, \d\), .* this is a TokenLogProbs"),
        (lambda found: found._replace(values=found.values[:, 1:]), r"with values \(\d, 6\), .* this is \(\d, 5\)"),
    ],
)
def test_values_that_are_missing_or_of_another_shape(change: Callable[[Any], Any], said: str) -> None:
    learner, model, _ = built()
    learner._forward = lambda *given: change(forward(*given))
    with pytest.raises(ValueError, match=f"forward must return TokenLogProbs {said}"):
        learner.begin_round(model, sampled(model, 0), 0)


def test_a_reward_that_is_not_finite() -> None:
    learner, model, _ = built()
    fresh = sampled(model, 0)
    fresh[1].rollouts[0].reward = float("nan")
    with pytest.raises(ValueError, match=r"round 0: group 1 has a reward of nan, .* or mark the row with scored=False"):
        learner.begin_round(model, fresh, 0)
    assert learner.micros == []
    fresh[1].rollouts[0].scored = False
    learner.begin_round(model, fresh, 0)
    assert all(bool(micro.advantages.isfinite().all()) for micro in learner.micros)
