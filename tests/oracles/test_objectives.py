"""Both objectives against float64 loops: loss, gradient and V, for every option; and every bug is noticed."""

import itertools

import pytest
import torch

from r2vpo.core.objectives import ClipConfig, RatioVarianceConfig, clip_loss, r2vpo_loss
from tests.oracles.batches import batch
from tests.oracles.objectives import oracle
from tests.tolerances import FLOAT64

DUAL = 1.7
LOSSES = {"r2vpo": (r2vpo_loss, RatioVarianceConfig), "clip": (clip_loss, ClipConfig)}
AGGREGATIONS = [("token_mean", None), ("sequence_mean", None), ("constant", 12.0)]


def options(anchor="proximal", level="token", aggregation="token_mean", constant=None, **more):
    base = {"stale_weight_cap": 1.5, "delta": 0.05, "clip_low": 0.1, "clip_high": 0.3, "dual_clip": None}
    return {
        **base,
        "dual": DUAL,
        "anchor": anchor,
        "level": level,
        "aggregation": aggregation,
        "constant": constant,
        **more,
    }


def build(name, o):
    kind = LOSSES[name][1]
    return kind(**{key: o[key] for key in kind.__dataclass_fields__})


def package(name, b, o, normalizer=None):
    log_probs = b["log_probs"].clone().requires_grad_()
    out = LOSSES[name][0](**{**b, "log_probs": log_probs}, dual=DUAL, config=build(name, o), normalizer=normalizer)
    (gradient,) = torch.autograd.grad(out.loss, log_probs)
    return out.loss.detach(), gradient, out.ratio_variance


def loops(name, b, o, normalizer=None, bug=None):
    log_probs = b["log_probs"].clone().requires_grad_()
    loss, numerator, denominator = oracle(
        name,
        log_probs,
        b["old_log_probs"],
        b["advantages"],
        b["response_mask"],
        b["rollout_log_probs"],
        o,
        normalizer,
        bug,
    )
    (gradient,) = torch.autograd.grad(loss, log_probs)
    return loss.detach(), gradient, numerator, denominator


def compare(name, b, o, normalizer=None, bug=None):
    loss, gradient, sums = package(name, b, o, normalizer)
    expected, expected_gradient, numerator, denominator = loops(name, b, o, normalizer, bug)
    torch.testing.assert_close(loss, expected, **FLOAT64)
    torch.testing.assert_close(gradient, expected_gradient, **FLOAT64)
    assert float(sums.numerator) == pytest.approx(numerator, rel=1e-10)
    assert float(sums.denominator) == pytest.approx(denominator, rel=1e-10)


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize(
    ("anchor", "level", "aggregation"),
    itertools.product(["proximal", "behavior"], ["token", "response"], AGGREGATIONS),
)
@pytest.mark.parametrize("normalizer", [None, 37.0])
def test_every_combination(name, anchor, level, aggregation, normalizer):
    mode, constant = aggregation
    o = options(anchor, level, mode, constant)
    compare(name, batch(seed=1), o, normalizer)
    compare(name, batch(seed=2, per_token=True), o, None if normalizer is None else torch.tensor(normalizer))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("level", ["token", "response"])
def test_without_rollout_log_probs(name, level):
    compare(name, {**batch(seed=3), "rollout_log_probs": None}, options(level=level))


@pytest.mark.parametrize("level", ["token", "response"])
@pytest.mark.parametrize("dual_clip", [1.1, 3.0])
def test_dual_clip(level, dual_clip):
    b = batch(seed=4)
    b["log_probs"] = b["old_log_probs"] + 4 * (b["log_probs"] - b["old_log_probs"])
    compare("clip", b, options(level=level, dual_clip=dual_clip))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("level", ["token", "response"])
def test_non_finite_rollout_log_probs(name, anchor, level):
    b = batch(seed=5)
    for t, garbage in enumerate([float("nan"), float("inf"), -float("inf")]):
        b["rollout_log_probs"][0, t] = garbage
    compare(name, b, options(anchor, level))


@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("level", ["token", "response"])
def test_huge_log_ratios_are_clamped_alike(name, level):
    b = batch(seed=6)
    b["log_probs"] = b["log_probs"] * 1000
    compare(name, b, options(level=level))


BUGS = {
    "r2vpo": [
        "penalty_unweighted", "penalty_linear", "advantage_sign", "no_penalty", "penalty_sign", "no_delta",
        "penalty_halved", "no_stale_weight", "no_cap", "weight_of_current", "denominator_is_width",
    ],
    "clip": [
        "advantage_sign", "bounds_swapped", "no_clip", "max_for_min", "no_dual_clip", "dual_clip_positive",
        "no_stale_weight", "no_cap", "weight_of_current", "denominator_is_width",
    ],
}  # fmt: skip


@pytest.mark.parametrize(("name", "bug"), [(name, bug) for name, bugs in BUGS.items() for bug in bugs])
def test_a_bug_is_noticed(name, bug):
    b = batch(seed=7, rows=9)
    b["log_probs"] = b["old_log_probs"] + 2 * (b["log_probs"] - b["old_log_probs"])
    o = options(dual_clip=1.2)
    compare(name, b, o)
    with pytest.raises(AssertionError):
        compare(name, b, o, bug=bug)


@pytest.mark.parametrize("name", LOSSES)
def test_an_ignored_anchor_is_noticed(name):
    with pytest.raises(AssertionError):
        compare(name, batch(seed=8), options("behavior"), bug="anchor_ignored")


def test_the_gradient_is_the_braked_advantage():
    b = {**batch(seed=9), "rollout_log_probs": None}
    _, gradient, _ = package("r2vpo", b, options())
    mask = b["response_mask"]
    r = (b["log_probs"] - b["old_log_probs"]).exp()
    expected = -r * (b["advantages"][:, None] - 2 * DUAL * (r - 1)) / mask.sum()
    torch.testing.assert_close(gradient, torch.where(mask, expected, 0.0), **FLOAT64)


def test_float32_agrees_with_the_float64_oracle():
    b = batch(seed=10)
    single = {k: v.float() if v.is_floating_point() else v for k, v in b.items()}
    loss, gradient, _ = package("r2vpo", single, options())
    expected, expected_gradient, _, _ = loops("r2vpo", b, options())
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-6)
