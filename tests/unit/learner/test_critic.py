"""A critic in the learner: its advantages, its loss, warm-up, resumption and what it logs."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.dual import closed_form_dual
from r2vpo.core.log_probs import TokenLogProbs
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objectives import OBJECTIVES
from r2vpo.core.options import BufferOptions
from r2vpo.learner import Learner, MicroBatch, RoundShape
from r2vpo.replay import Group, ReplayBuffer, Rollout
from tests.oracles import critic as oracle
from tests.oracles.cases import OWN
from tests.oracles.objectives import oracle as objective_oracle
from tests.tolerances import FLOAT32
from tests.unit.learner.groups import CPU

VOCABULARY, WIDTH, MICROS = 12, 6, 2


class Model(nn.Module):
    """A policy and a critic of one table each: the token before decides about both."""

    def __init__(self) -> None:
        super().__init__()
        g = torch.Generator().manual_seed(1)
        self.policy = nn.Parameter(torch.randn(VOCABULARY, VOCABULARY, generator=g))
        self.critic = nn.Parameter(0.3 * torch.randn(VOCABULARY, generator=g))

    def forward(self, micro: MicroBatch) -> TokenLogProbs:
        batch = micro.batch
        last = batch.prompt_ids[batch.group_index, -1:]
        before = torch.cat([last, batch.response_ids[:, :-1]], dim=1)
        logs = self.policy[before].log_softmax(-1)
        entropy = -(logs.exp() * logs).sum(-1).detach()
        return TokenLogProbs(logs.gather(2, batch.response_ids[..., None])[..., 0], entropy, self.critic[before])


def forward(model: Any, micro: MicroBatch) -> TokenLogProbs:
    found: TokenLogProbs = model(micro)
    return found


def sampled(model: Model, version: int, *, groups: int = 4, rows: int = 4, first: int = 0) -> list[Group]:
    """Groups sampled by the model: in row 1 of each, two tokens in the middle are a tool's; the reward counts 5s."""
    found = []
    for number in range(first, first + groups):
        g = torch.Generator().manual_seed(1000 * version + number)
        prompt = torch.tensor([2, 3 + number % 5])
        responses = []
        for place in range(rows):
            token, ids, logs = int(prompt[-1]), [], []
            for _ in range(WIDTH - place):
                log_probs = model.policy[token].log_softmax(-1).detach()
                token = int(torch.multinomial(log_probs.exp(), 1, generator=g))
                ids.append(token)
                logs.append(log_probs[token])
            mask = torch.ones(len(ids), dtype=torch.bool)
            if place == 1:
                mask[1:3] = False
            responses.append(
                Rollout(torch.tensor(ids), mask, torch.stack(logs), 0.0, float(ids.count(5) + ids[-1] / 9))
            )
        mean = sum(row.reward for row in responses) / rows
        for row in responses:
            row.advantage = row.reward - mean
        found.append(Group(100 * version + number, version, prompt, responses))
    return found


def learner_of(
    critic: Any = None, *, objective: str = "r2vpo", versions: int = 2, total: Callable[[Tensor], Tensor] | None = None,
    processes: int = 1, micros: int = MICROS, per_step: int = 1, **method_options: Any,
) -> Learner:  # fmt: skip
    dual = {"kind": "fixed", "value": 1.7} if objective == "kl_penalty" else {}
    method = Method(MethodOptions(objective=objective, **({"dual": dual} | method_options)))
    total = total or (lambda tensor: tensor)
    return Learner(
        method.loss,
        method.config,
        method.controls(steps_per_round=micros // per_step, reduce=total),
        ReplayBuffer(BufferOptions(versions=versions, ratio=1.0 if versions else 0.0), 0),
        RoundShape(micro_batches=micros, per_step=per_step, rows=8, processes=processes),
        forward=forward,
        total=total,
        skips=True,
        max_staleness=max(versions, 2),
        pad_token_id=0,
        device=CPU,
        seed=0,
        critic=CriticOptions.of({"enabled": True} | (critic or {}), "critic"),
    )


def steps(learner: Learner, model: Model, optimizer: torch.optim.Optimizer, micros: Any = None) -> list[dict[str, Any]]:
    metrics = []
    for micro in learner.micros if micros is None else micros:
        optimizer.zero_grad()
        learner.loss(learner.policy(model, micro), micro, first_pass=True).backward()
        metrics.append(learner.finish_step())
        optimizer.step()
    return metrics


def built(**options: Any) -> tuple[Learner, Model, torch.optim.Optimizer]:
    model, learner = Model(), learner_of(**options)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.05)
    if learner.controls.step_size is not None:
        learner.controls.step_size.attach(optimizer)
    return learner, model, optimizer


def rounds(learner: Learner, model: Model, optimizer: torch.optim.Optimizer, versions: range) -> list[dict[str, Any]]:
    found = []
    for version in versions:
        learner.begin_round(model, sampled(model, version), version)
        found += steps(learner, model, optimizer)
    return found


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
    assert state["held_out"]["present"] == [0.0, 0.0, 0.0]
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


def test_an_evaluation_has_the_policys_loss_alone() -> None:
    learner, model, _ = built()
    micro = learner.collate(sampled(model, 0), 0)
    learner.evaluate(model, [micro])
    loss = learner.loss(learner.policy(model, micro), micro, first_pass=False, train=False)
    assert micro.advantages.dim() == 1 and torch.autograd.grad(loss, model.critic, allow_unused=True)[0] is None
