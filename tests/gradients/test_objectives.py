"""Analytic gradients against finite differences (gradcheck), in float64 and off the kinks of clipping.

Objectives whose weight is held constant (`HELD`) are not the gradient of their value: theirs is compared with the
coefficient of each token, written out by hand.
"""

import dataclasses
import itertools
import math

import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES, ClipConfig, clip_loss
from tests.oracles.batches import batch
from tests.oracles.cases import HELD, LEVELS, OWN, config_of, options
from tests.oracles.objectives import oracle
from tests.tolerances import FLOAT64

KINKS = (0.8, 1.2, 1 - 3e-4, 1 + 4e-4)
ADVANTAGES = torch.tensor([1.3, -0.8, 0.4, -1.6], dtype=torch.float64)
DIFFERENTIABLE = [(name, level) for name in OBJECTIVES if name not in HELD for level in LEVELS[name]]


def inputs(level):
    """Log-ratios whose ratios (and whose responses' mean ratios) stay off the clip bounds."""
    token = torch.tensor([-0.5, -0.15, -0.02, 0.03, 0.12, 0.4], dtype=torch.float64)
    shift = torch.tensor([0.0, 0.35, -0.4, 0.05], dtype=torch.float64)
    log_ratio = token.roll(1).repeat(4, 1) if level == "token" else 0.1 * token.repeat(4, 1) + shift[:, None]
    mask = torch.ones(4, 6, dtype=torch.bool)
    mask[1, 4:], mask[2, :2], mask[3, 1] = False, False, False
    ratios = log_ratio.exp() if level == "token" else _response_ratio(log_ratio, mask)
    assert min((ratios - kink).abs().min() for kink in KINKS) > 5e-4
    old = -torch.linspace(0.2, 3.0, 24, dtype=torch.float64).reshape(4, 6)
    return old + log_ratio, old, mask


def _response_ratio(log_ratio, mask):
    return (torch.where(mask, log_ratio, 0.0).sum(1) / mask.sum(1)).exp()


def gradcheck(name, config, anchor, log_probs, old, mask):
    # Under "behavior" the ratio is to the sampler, so the same distances are kept from it.
    rollout = old.clone() if anchor == "behavior" else old + torch.linspace(-1, 1, 24, dtype=torch.float64).view(4, 6)

    def scalar(x):
        return OBJECTIVES[name].loss(
            log_probs=x, old_log_probs=old, advantages=ADVANTAGES, response_mask=mask, dual=1.1,
            rollout_log_probs=rollout, config=config,
        ).loss  # fmt: skip

    assert torch.autograd.gradcheck(scalar, log_probs.requires_grad_(), eps=1e-6, atol=1e-8)


@pytest.mark.parametrize(("name", "level"), DIFFERENTIABLE)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("aggregation", ["token_mean", "sequence_mean", "constant"])
def test_gradcheck(name, level, anchor, aggregation):
    constant = 6.0 if aggregation == "constant" else None
    kind = OBJECTIVES[name].config_class
    gradcheck(
        name, kind(level=level, anchor=anchor, aggregation=aggregation, constant=constant), anchor, *inputs(level)
    )


@pytest.mark.parametrize("name", [name for name, _ in DIFFERENTIABLE if name not in ("r2vpo", "kl_penalty")])
def test_gradcheck_with_the_penalty_added(name):
    level = LEVELS[name][0]
    gradcheck(name, OBJECTIVES[name].config_class(ratio_variance_delta=0.04), "proximal", *inputs(level))


@pytest.mark.parametrize("level", LEVELS["r2vpo"])
def test_gradcheck_of_the_two_sided_brake(level):
    gradcheck("r2vpo", OBJECTIVES["r2vpo"].config_class(brake="two_sided", level=level), "proximal", *inputs(level))


def test_gradcheck_of_the_dual_clip():
    log_probs, old, mask = inputs("token")
    config = ClipConfig(dual_clip=1.35)  # between the ratios 1.13 and 1.49

    def scalar(x):
        return clip_loss(log_probs=x, old_log_probs=old, advantages=ADVANTAGES, response_mask=mask, config=config).loss

    assert torch.autograd.gradcheck(scalar, log_probs.requires_grad_(), eps=1e-6, atol=1e-8)
    (gradient,) = torch.autograd.grad(scalar(log_probs), log_probs)
    cut = mask & (ADVANTAGES[:, None] < 0) & ((log_probs - old).exp() > 1.35)
    assert cut.any() and (gradient[cut] == 0).all()


def coefficient(name, r, a, q, whole, kept, size):
    """What a token's grad log pi is multiplied by, before the stale weight, in plain floats."""
    o = OWN[name]
    if name == "cispo":
        return min(max(r, 1 - o["clip_low"]), 1 + o["clip_high"]) * a
    if name == "m2po":
        return r * a if kept else 0.0
    if name == "dppo_tv":
        change = q * (r - 1)
        out = change > o["tv_high"] if a > 0 else change < -o["tv_low"]
        return 0.0 if out else min(r, o["ratio_cap"]) * a
    if name == "vespo":
        side = "positive" if a >= 0 else "negative"
        return math.exp(o[f"lambda_{side}"] * (1 - whole)) * whole ** o[f"k_{side}"] * a
    if name == "p3o":
        return min(r, size) * a - (1 - size) * r * math.log(r)
    return a if a >= 0 else min(whole, 1.0) * a


@pytest.mark.parametrize("name", HELD)
def test_a_held_weight_gives_the_coefficient_by_hand(name):
    b = {**batch(seed=13, rows=6), "rollout_log_probs": None}
    config = config_of(OBJECTIVES[name].config_class, options(name))
    log_probs = b["log_probs"].clone().requires_grad_()
    OBJECTIVES[name].loss(**{**b, "log_probs": log_probs}, config=config, normalizer=1.0).loss.backward()
    mask, x = b["response_mask"], b["log_probs"] - b["old_log_probs"]
    outward = sorted(float(v) ** 2 for v in (x * (b["advantages"][:, None] * x > 0))[mask] if v != 0)
    while outward and sum(outward) / len(outward) > OWN["m2po"]["second_moment"]:
        outward.pop()
    ratios = x[mask].exp()
    size = float(ratios.sum() ** 2 / (len(ratios) * ratios.square().sum()))
    zeros = 0
    for i, t in itertools.product(range(mask.shape[0]), range(mask.shape[1])):
        if not mask[i, t]:
            assert log_probs.grad[i, t] == 0
            continue
        a, r = float(b["advantages"][i]), math.exp(x[i, t])
        kept = a * float(x[i, t]) <= 0 or float(x[i, t]) ** 2 <= outward[-1] + 1e-15
        whole = math.exp(float(x[i][mask[i]].sum()))
        expected = coefficient(name, r, a, math.exp(b["old_log_probs"][i, t]), whole, kept, size)
        zeros += expected == 0
        assert float(log_probs.grad[i, t]) == pytest.approx(-expected, rel=1e-9, abs=1e-12)
    assert (zeros > 0) == (name in ("m2po", "dppo_tv"))  # the masks do cut something


# M2PO's mask is piecewise constant: away from its jumps the gradient is that of the value.
@pytest.mark.parametrize("name", [name for name in HELD if name != "m2po"])
def test_a_weight_that_is_not_held_would_be_noticed(name):
    """Finite differences of the value do not give the gradient, so that gradcheck has to be replaced here."""
    b = {**batch(seed=13, rows=6), "rollout_log_probs": None}
    o = options(name)

    def gradient(bug):
        x = b["log_probs"].clone().requires_grad_()
        loss = oracle(name, x, b["old_log_probs"], b["advantages"], b["response_mask"], None, o, 1.0, bug)[0]
        return torch.autograd.grad(loss, x)[0]

    assert not torch.allclose(gradient(None), gradient("weight_has_gradient"), **FLOAT64)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_gradient_flows_into_log_probs_alone(name):
    log_probs, old, mask = inputs("token")
    rollout, advantages = old + 0.1, torch.ones(4, 6, dtype=torch.float64)
    dual = torch.tensor(1.0, dtype=torch.float64)
    decisions = torch.full((4, 6), 3.0, dtype=torch.float64)
    others = [old, rollout, advantages, dual, decisions]
    for tensor in [log_probs, *others]:
        tensor.requires_grad_()
    objective = OBJECTIVES[name]
    config = objective.config_class()
    if name not in ("r2vpo", "kl_penalty"):
        config = dataclasses.replace(config, ratio_variance_delta=0.04)
    out = objective.loss(
        log_probs=log_probs, old_log_probs=old, advantages=advantages, response_mask=mask, dual=dual,
        rollout_log_probs=rollout, config=config, decisions=decisions,
    )  # fmt: skip
    gradients = torch.autograd.grad(out.loss, [log_probs, *others], allow_unused=True)
    assert gradients[0].abs().sum() > 0
    assert all(gradient is None for gradient in gradients[1:])
    sums = [out.constraint.numerator, out.constraint.denominator]
    assert not any(tensor.requires_grad for tensor in [*out.metrics.values(), *sums])
