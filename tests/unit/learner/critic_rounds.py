"""A policy and a critic of one table each, their learner, and rounds of both."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.log_probs import TokenLogProbs
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.options import BufferOptions
from r2vpo.learner import Learner, MicroBatch, RoundShape
from r2vpo.replay import Group, ReplayBuffer, Rollout
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
