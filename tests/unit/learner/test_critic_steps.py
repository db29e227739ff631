"""The steps of a round with a critic: its loss, warm-up, resumption, micro-batches and processes."""

from __future__ import annotations

import copy
import threading
from typing import Any

import pytest
import torch
from torch import Tensor

from r2vpo.core.objectives import OBJECTIVES
from r2vpo.replay import Group
from tests.oracles import critic as oracle
from tests.oracles.cases import OWN
from tests.oracles.objectives import oracle as objective_oracle
from tests.tolerances import FLOAT32
from tests.unit.learner.critic_rounds import VOCABULARY, Model, built, learner_of, rounds, sampled, steps


def test_the_loss_is_the_policys_and_the_weighted_value_loss() -> None:
    learner, model, _ = built(critic={"loss_weight": 0.3, "clip": 0.05}, versions=0)
    learner.begin_round(model, sampled(model, 0), 0)
    with torch.no_grad():
        model.critic.add_(0.1)
        model.policy.mul_(1.1)
    for micro in learner.micros:
        current = learner.policy(model, micro)
        loss = learner.loss(current, micro, first_pass=True)
        policy = learner.objective(
            log_probs=current.log_probs, old_log_probs=micro.old_log_probs, rollout_log_probs=micro.rollout_log_probs,
            advantages=micro.advantages, response_mask=micro.response_mask, dual=learner.controls.dual.value,
            config=learner.config, normalizer=micro.normalizer,
        ).loss  # fmt: skip
        lists = [one.tolist() for one in (current.values, micro.values, micro.targets, micro.scored_mask)]
        value, gradient, clipped = oracle.value_loss(*lists, 0.05, "token_mean", None, float(micro.normalizer))
        torch.testing.assert_close(loss, policy + 0.3 * value, **FLOAT32)
        (mine,) = torch.autograd.grad(loss, current.values, retain_graph=True)
        torch.testing.assert_close(mine, 0.3 * torch.tensor(gradient), rtol=1e-4, atol=1e-6)
        metrics = learner.finish_step()
        tokens = int(micro.scored_mask.sum())
        assert metrics["value_loss"] == pytest.approx(value, rel=1e-5)
        assert metrics["value_clip_fraction"] == pytest.approx(clipped / tokens) and clipped
        assert metrics["value_mean"] == pytest.approx(
            float(current.values.detach()[micro.scored_mask].mean()), rel=1e-5
        )


def test_a_critic_learns_what_the_prompt_says_of_the_reward() -> None:
    learner, model, optimizer = built(
        critic={"warmup_rounds": 40, "clip": None}, versions=0, step_control={"first_scale": 2.0}
    )
    metrics = []
    for version in range(40):
        fresh = sampled(model, version, groups=5)
        for group in fresh:
            for row in group.rollouts:
                row.response_mask[1:], row.reward = False, float(group.prompt_ids[-1]) / 7
        learner.begin_round(model, fresh, version)
        metrics += steps(learner, model, optimizer)
    assert metrics[0]["explained_variance"] < 0.5 and metrics[-1]["explained_variance"] > 0.95
    assert metrics[-1]["value_loss"] < 0.1 * metrics[0]["value_loss"]
    # The two steps of a round have all its rows between them.
    assert sum(one["value_mean"] for one in metrics[-2:]) / 2 == pytest.approx(5 / 7, abs=0.05)
    assert "value_clip_fraction" not in metrics[0]


def test_warm_up_trains_only_the_critic() -> None:
    learner, model, optimizer = built(critic={"warmup_rounds": 2})
    policy, critic = model.policy.detach().clone(), model.critic.detach().clone()
    metrics = rounds(learner, model, optimizer, range(2))
    assert learner.critic.warms_up and torch.equal(model.policy, policy) and not torch.equal(model.critic, critic)
    state = learner.controls.state_dict()
    assert {one["step_scale"] for one in metrics} == {0.05}, "no movement was measured that could let the step grow"
    assert (state["step_size"]["curvature"], state["step_size"]["weight"]) == (0.0, 0.0)
    assert state["held_out"]["present"] == [0.0] * 4
    rounds(learner, model, optimizer, range(2, 3))
    assert not learner.critic.warms_up and not torch.equal(model.policy, policy)
    step_size = learner.controls.state_dict()["step_size"]
    assert step_size["measured"][0] > 0, "the first measurement is that of the first round that trains the policy"


@pytest.mark.parametrize("warmup_rounds", [0, 3])
def test_a_round_that_is_resumed_in_its_middle(warmup_rounds: int) -> None:
    learner, model, optimizer = built(critic={"warmup_rounds": warmup_rounds})
    rounds(learner, model, optimizer, range(2))
    learner.begin_round(model, sampled(model, 2), 2)
    steps(learner, model, optimizer, learner.micros[:1])
    state, weights = copy.deepcopy(learner.state_dict(in_progress=True)), copy.deepcopy(model.state_dict())
    moments = copy.deepcopy(optimizer.state_dict())
    through = steps(learner, model, optimizer, learner.micros[1:]) + rounds(learner, model, optimizer, range(3, 5))
    again, other, optimizer_again = built(critic={"warmup_rounds": warmup_rounds})
    other.load_state_dict(weights)
    optimizer_again.load_state_dict(moments)
    again.load_state_dict(state, version=2)
    resumed = steps(again, other, optimizer_again, again.micros[1:]) + rounds(
        again, other, optimizer_again, range(3, 5)
    )
    assert resumed == through
    assert all(torch.equal(one, two) for one, two in zip(model.parameters(), other.parameters(), strict=True))


def test_a_state_without_a_critic_is_refused() -> None:
    plain = learner_of({"enabled": False})
    with pytest.raises(ValueError, match="state of the learner lacks critic"):
        learner_of().load_state_dict(plain.state_dict(in_progress=False), version=0)
    plain.load_state_dict(learner_of().state_dict(in_progress=False), version=0)


def test_without_a_critic_nothing_changes() -> None:
    learner, model, optimizer = built(critic={"enabled": False})
    metrics = rounds(learner, model, optimizer, range(2))
    assert learner.skips and all(micro.advantages.dim() == 1 and micro.targets is None for micro in learner.micros)
    assert not any("value" in name for name in metrics[0]) and not learner.critic.warms_up
    assert model.critic.grad is None


@pytest.mark.parametrize("name", sorted(OBJECTIVES))
def test_every_objective_takes_advantages_per_token(name: str) -> None:
    """Loss and gradient of a step are the loops', whose advantages are per token."""
    learner, model, optimizer = built(objective=name)
    rounds(learner, model, optimizer, range(2))
    learner.begin_round(model, sampled(model, 2), 2)
    with torch.no_grad():
        model.policy.add_(0.3 * torch.randn(VOCABULARY, VOCABULARY, generator=torch.Generator().manual_seed(5)))
    config = learner.config
    options = {
        "anchor": config.anchor, "level": config.level, "aggregation": config.aggregation, "constant": config.constant,
        "stale_weight_cap": config.stale_weight_cap, "ratio_variance_delta": None, "dual": learner.controls.dual.value,
        **{key: getattr(config, key) for key in OWN[name] if key not in ("delta", "kl_target")},
        "target": config.constraint_target,
    }  # fmt: skip
    micro = learner.micros[0]
    assert micro.advantages.shape == micro.response_mask.shape and int(micro.staleness.max()) > 0
    assert (micro.advantages.max(dim=1).values > micro.advantages.min(dim=1).values + 0.01).all()
    current = learner.policy(model, micro)
    (mine,) = torch.autograd.grad(learner.loss(current, micro, first_pass=True), current.log_probs)
    log_probs = current.log_probs.detach().double().requires_grad_()
    loss, *_ = objective_oracle(
        name, log_probs, micro.old_log_probs.double(), micro.advantages.double(), micro.response_mask,
        micro.rollout_log_probs.double(), options, float(micro.normalizer), None, None,
    )  # fmt: skip
    (gradient,) = torch.autograd.grad(loss, log_probs)
    torch.testing.assert_close(mine, gradient.float(), rtol=1e-4, atol=1e-6)
    assert gradient.abs().max() > 1e-4


def gradient_of_round(groups: list[Group], model: Model, **options: Any) -> tuple[Tensor, dict[str, Any]]:
    """The gradient of the round's only step, and its metrics; off the values of the round's start."""
    learner = learner_of(**options)
    learner.begin_round(model, groups, 0)
    moved = copy.deepcopy(model)
    with torch.no_grad():
        moved.critic.add_(0.4)
        moved.policy.mul_(1.1)
    for micro in learner.micros:
        learner.loss(learner.policy(moved, micro), micro, first_pass=True).backward()
    return torch.cat([moved.policy.grad.flatten(), moved.critic.grad.flatten()]), learner.finish_step()


def test_micro_batches_and_processes_give_one_step() -> None:
    """Four micro-batches, one, and two processes of two: one gradient, one value loss, one explained variance."""
    model = Model()
    groups = sampled(model, 0)
    whole, metrics = gradient_of_round(groups, model, micros=1, versions=0)
    split, metrics_split = gradient_of_round(groups, model, micros=4, per_step=4, versions=0)
    barrier, shared, results = threading.Barrier(2), {}, {}

    def process(place: int) -> None:
        def total(tensor: Tensor) -> Tensor:
            shared[place] = tensor.clone()
            barrier.wait()
            found = shared[0] + shared[1]
            barrier.wait()
            return found

        mine = copy.deepcopy(groups[2 * place : 2 * place + 2])
        results[place] = gradient_of_round(
            mine, copy.deepcopy(model), micros=2, per_step=2, versions=0, total=total, processes=2
        )

    threads = [threading.Thread(target=process, args=(place,)) for place in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    torch.testing.assert_close(split, whole, **FLOAT32)
    torch.testing.assert_close(results[0][0] + results[1][0], whole, **FLOAT32)
    names = ("value_loss", "value_mean", "explained_variance", "value_clip_fraction", "decision_variance_target")
    for other in (metrics_split, results[0][1], results[1][1]):
        for name in names:
            assert other[name] == pytest.approx(metrics[name], rel=1e-4, abs=1e-6), name


def test_an_evaluation_has_the_policys_loss_alone() -> None:
    learner, model, _ = built()
    micro = learner.collate(sampled(model, 0), 0)
    learner.evaluate(model, [micro])
    loss = learner.loss(learner.policy(model, micro), micro, first_pass=False, train=False)
    assert micro.advantages.dim() == 1 and torch.autograd.grad(loss, model.critic, allow_unused=True)[0] is None
