"""The learner by itself: a loop of torch around it learns, and its code stays small enough to be read at once."""

from __future__ import annotations

import copy
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.core.advantages import ADVANTAGES
from r2vpo.core.log_probs import install
from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.replay_options import ReplayOptions
from r2vpo.learner import Learner, MicroBatch, RoundShape
from r2vpo.replay import Group, ReplayBuffer, Rollout
from r2vpo.sampling import SharedPrefixSampler
from tests.tiny import tiny_model

GROUPS, ROWS, STEPS = 4, 8, 2
MOST_FILES, MOST_LINES = 37, 4900
CLOSURE = """
import ast, json, pathlib, sys
root = pathlib.Path(sys.argv[1])
def file_of(module):
    path = root.joinpath(*module.split("."))
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
found, waiting = {}, ["r2vpo.learner.learner"]
while waiting:
    module = waiting.pop()
    path = file_of(module)
    if path is None or str(path) in found:
        continue
    text = path.read_text(encoding="utf-8")
    found[str(path)] = len(text.splitlines())
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("r2vpo"):
            inner = [f"{node.module}.{name.name}" for name in node.names]
            waiting += [name for name in inner if file_of(name)] or [node.module]
print(json.dumps(found))
"""


def forward(model: Any, micro: MicroBatch) -> Any:
    return model(prefix_batch=micro.batch, temperature=1.0)


def learner_of(seed: int = 0, per_step: int = 1) -> Learner:
    method = Method(MethodOptions())
    return Learner(
        method.loss,
        method.config,
        method.controls(steps_per_round=STEPS, reduce=lambda tensor: tensor),
        ReplayBuffer(ReplayOptions(versions=2, ratio=0.5), seed),
        RoundShape(micro_batches=STEPS, per_step=per_step, rows=ROWS),
        forward=forward,
        total=lambda tensor: tensor,
        skips=True,
        max_staleness=2,
        pad_token_id=0,
        device=torch.device("cpu"),
        seed=seed,
    )


def sampled(model: Any, version: int) -> list[Group]:
    """Groups whose reward is the share of the token 5."""
    sampler = SharedPrefixSampler(model, eos_token_ids=[1], pad_token_id=0, max_new_tokens=6)
    prompts = [[2 + place, 3, 4] for place in range(GROUPS)]
    samples = sampler.sample(prompts, ROWS, seed=version)
    rewards = torch.tensor([sample.response_ids.count(5) / len(sample.response_ids) for sample in samples])
    advantages = ADVANTAGES["grpo"](rewards, ROWS).tolist()
    rows = [
        Rollout(torch.tensor(s.response_ids), torch.ones(len(s.response_ids), dtype=torch.bool),
                torch.tensor(s.log_probs), advantage, float(reward))
        for s, advantage, reward in zip(samples, advantages, rewards, strict=True)
    ]  # fmt: skip
    return [
        Group(version * GROUPS + place, version, torch.tensor(prompt), rows[place * ROWS : (place + 1) * ROWS])
        for place, prompt in enumerate(prompts)
    ]


def run(learner: Learner, model: Any, optimizer: Any, rounds: range) -> list[float]:
    rewards = []
    for version in rounds:
        fresh = sampled(model, version)
        rewards.append(sum(row.reward for group in fresh for row in group.rollouts) / (GROUPS * ROWS))
        learner.begin_round(model.train(), fresh, version)
        for micro in learner.micros:
            optimizer.zero_grad()
            learner.loss(learner.policy(model, micro), micro, first_pass=True).backward()
            metrics = learner.finish_step()
            optimizer.step()
            if micro is learner.micros[0]:
                assert metrics["ratio_variance"] == 0.0, "the policy is that of the round's start"
    return rewards


def built(per_step: int = 1) -> tuple[Learner, Any, Any]:
    model, learner = tiny_model(), learner_of(per_step=per_step)
    install(model)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    learner.controls.step_size.attach(optimizer)
    return learner, model, optimizer


def test_a_loop_of_torch_around_it_learns() -> None:
    learner, model, optimizer = built()
    rewards = run(learner, model, optimizer, range(40))
    assert sum(rewards[-5:]) / 5 > 2 * sum(rewards[:5]) / 5
    assert sum(learner.staleness_rows[1:]) > 0, "stale rows were trained on"


@pytest.mark.parametrize(("per_step", "learns"), [(1, False), (STEPS, True)])
def test_a_second_pass_teaches_the_step_size_only_if_the_first_could_not(per_step: int, learns: bool) -> None:
    """Rows that have been trained on move further than others; but a first pass of one step has measured nothing."""
    learner, model, optimizer = built(per_step)
    learner.begin_round(model.train(), sampled(model, 0), 0)
    for first_pass in (True, False):
        for place, micro in enumerate(learner.micros):
            known = learner.controls.step_size.curvature
            learner.loss(learner.policy(model, micro), micro, first_pass=first_pass).backward()
            if place % per_step == per_step - 1:
                learner.finish_step()
                optimizer.step()
                optimizer.zero_grad()
        assert (learner.controls.step_size.curvature > 0) == (per_step == 1 if first_pass else True)
    assert (learner.controls.step_size.curvature != known) == learns


def test_a_restored_learner_makes_the_same_rounds() -> None:
    learner, model, optimizer = built()
    run(learner, model, optimizer, range(4))
    other, weights = learner_of(seed=9), {name: value.clone() for name, value in model.state_dict().items()}
    other.load_state_dict(learner.state_dict(in_progress=False), version=3)
    moments = copy.deepcopy(optimizer.state_dict())
    first = run(learner, model, optimizer, range(4, 6))
    model.load_state_dict(weights)
    again = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.0)
    again.load_state_dict(moments)
    other.controls.step_size.attach(again)
    assert run(other, model, again, range(4, 6)) == first
    assert other.staleness_rows == learner.staleness_rows
    assert other.controls.state_dict() == learner.controls.state_dict()


def test_a_round_in_progress_comes_back_as_it_was() -> None:
    learner, model, optimizer = built()
    run(learner, model, optimizer, range(3))
    other = learner_of()
    other.load_state_dict(learner.state_dict(in_progress=True), version=2)
    assert len(other.micros) == len(learner.micros) == STEPS
    for before, after in zip(learner.micros, other.micros, strict=True):
        assert float(before.normalizer) == float(after.normalizer)
        for name in ("response_mask", "advantages", "rollout_log_probs", "staleness", "held_out"):
            assert torch.equal(getattr(before, name), getattr(after, name)), name
        for name in ("prompt_ids", "group_index", "response_ids"):
            assert torch.equal(getattr(before.batch, name), getattr(after.batch, name)), name
        mask = before.batch.response_mask
        assert torch.equal(before.old_log_probs[mask], after.old_log_probs[mask])


@pytest.mark.parametrize("version", [2, 6])
def test_rows_of_another_time_are_refused_before_anything_changes(version: int) -> None:
    learner, model, optimizer = built()
    run(learner, model, optimizer, range(3))
    before = learner.replay.statistics()
    with pytest.raises(ValueError, match=f"policy_version = {version}, which must be from 3 to 5"):
        learner.begin_round(model, sampled(model, version), 5)
    assert learner.version == 2 and learner.replay.statistics() == before


def test_one_step_can_be_read_in_few_files() -> None:
    source = Path(__file__).parents[3] / "src"
    done = subprocess.run([sys.executable, "-c", CLOSURE, str(source)], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert found[str(source / "r2vpo/learner/learner.py")] <= 300
    assert len(found) <= MOST_FILES and sum(found.values()) <= MOST_LINES, (len(found), sum(found.values()), found)
