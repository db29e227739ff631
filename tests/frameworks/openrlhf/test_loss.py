"""Our loss under OpenRLHF's contract: equal to the core, and to its own where both have the same."""

from __future__ import annotations

import inspect

import pytest
import torch
from openrlhf.models.loss import PolicyLoss

from r2vpo.core.method import Method
from r2vpo.core.method_options import MethodOptions
from r2vpo.integrations.openrlhf.loss import R2VPOPolicyLoss

CLIP = {"clip_low": 0.2, "clip_high": 0.2, "dual_clip": 3.0}


def ours(**options):
    method = Method(MethodOptions(**options))
    return R2VPOPolicyLoss(method, method.controls(steps_per_round=1, reduce=lambda tensor: tensor))


def inputs(dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    old = -torch.rand(5, 7, generator=generator, dtype=torch.float64)
    mask = torch.arange(7) < torch.tensor([7, 3, 5, 1, 6])[:, None]
    moved = old + 0.3 * torch.randn(5, 7, generator=generator, dtype=torch.float64)
    return {
        "log_probs": moved.to(dtype).requires_grad_(),
        "old_log_probs": old.to(dtype),
        "advantages": torch.randn(5, 7, generator=generator, dtype=torch.float64).to(dtype),  # per token, as GAE's
        "action_mask": mask,
    }


def step(loss, given, **more):
    found = loss(**given, **more)
    found[0].backward()
    return found, given["log_probs"].grad


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("by_tokens", [True, False])
@pytest.mark.parametrize(
    "world", [{}, {"dp_size": 2, "batch_num_tokens": torch.tensor(60.0), "global_batch_size": 12.0}]
)
def test_clipping_is_openrlhfs_own(dtype, by_tokens, world):
    aggregation = "token_mean" if by_tokens else "sequence_mean"
    mine, gradient = step(
        ours(objective={"name": "clip", "options": CLIP, "aggregation": aggregation}), inputs(dtype), **world
    )
    theirs, expected = step(PolicyLoss(dual_clip=3.0, token_level_loss=by_tokens), inputs(dtype), **world)
    torch.testing.assert_close(mine[0], theirs[0])
    torch.testing.assert_close(gradient, expected)
    torch.testing.assert_close(mine[2], theirs[2])  # ppo_kl
    assert (mine[3], mine[4]) == (theirs[3], theirs[4]) == (None, None)
    assert 0 < mine[1] < 1


def test_and_with_another_range_it_is_not():
    mine, _ = step(ours(objective={"name": "clip", "options": CLIP | {"clip_high": 0.3}}), inputs())
    assert not torch.allclose(mine[0], step(PolicyLoss(dual_clip=3.0), inputs())[0][0])


@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean"])
def test_it_is_the_cores(anchor, aggregation):
    given = inputs()
    sampled = given["old_log_probs"] + 0.2 * torch.randn(5, 7, generator=torch.Generator().manual_seed(9))
    loss = ours(objective={"anchor": anchor, "aggregation": aggregation})
    totals = {"dp_size": 2, "batch_num_tokens": 60.0, "global_batch_size": 12.0}
    found, gradient = step(loss, given, rollout_log_probs=sampled, **totals)
    again = inputs()
    expected = loss.method.loss(
        log_probs=again["log_probs"],
        old_log_probs=again["old_log_probs"],
        rollout_log_probs=sampled,
        advantages=again["advantages"],
        response_mask=again["action_mask"],
        dual=loss.controls.dual.value,
        config=loss.method.config,
        normalizer=30.0 if aggregation == "token_mean" else 6.0,
    ).loss
    expected.backward()
    torch.testing.assert_close(found[0], expected)
    torch.testing.assert_close(gradient, again["log_probs"].grad)
    mask = given["action_mask"]
    torch.testing.assert_close(found[3], (sampled - given["old_log_probs"])[mask].mean())
    assert found[4] == 0


def test_the_anchor_to_the_sampler_wants_its_log_probs():
    with pytest.raises(ValueError, match="rollout_log_probs is None"):
        ours(objective={"anchor": "behavior"})(**inputs())


def test_what_has_no_gradient_is_not_added_up():
    loss = ours()
    with torch.no_grad():
        loss(**inputs())
    with pytest.raises(ValueError, match="has no micro-batch"):
        loss.controls.finish_step()


def test_the_contract():
    names = list(inspect.signature(PolicyLoss.forward).parameters)
    assert names == list(inspect.signature(R2VPOPolicyLoss.forward).parameters)
