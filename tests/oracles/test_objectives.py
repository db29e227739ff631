"""Every objective against float64 loops: loss, gradient and sums, for every option; and every bug is noticed."""

import itertools

import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES, RatioVarianceConfig, own_options, policy_gradient_loss, r2vpo_loss
from tests.oracles.batches import batch
from tests.oracles.cases import AGGREGATIONS, DUAL, LEVELS, OWN, config_of, options
from tests.oracles.objectives import oracle
from tests.tolerances import FLOAT32, FLOAT64

COMPOSED = [name for name in OBJECTIVES if name not in ("r2vpo", "kl_penalty")]
NAME_LEVELS = [(name, level) for name, levels in LEVELS.items() for level in levels]


def package(name, b, o, normalizer=None):
    log_probs = b["log_probs"].clone().requires_grad_()
    objective = OBJECTIVES[name]
    config = config_of(objective.config_class, o)
    out = objective.loss(**{**b, "log_probs": log_probs}, dual=DUAL, config=config, normalizer=normalizer)
    (gradient,) = torch.autograd.grad(out.loss, log_probs)
    return out.loss.detach(), gradient, out.constraint


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
        b.get("decisions"),
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


def r2vpo_gradient(b, dual, config):
    log_probs = b["log_probs"].clone().requires_grad_()
    loss = r2vpo_loss(**{**b, "log_probs": log_probs}, dual=dual, config=config).loss
    return torch.autograd.grad(loss, log_probs)[0]


def spread(seed, factor, **more):
    """A batch whose policy has moved further."""
    b = batch(seed=seed, **more)
    return {**b, "log_probs": b["old_log_probs"] + factor * (b["log_probs"] - b["old_log_probs"])}


def test_the_tables_name_every_objective():
    assert list(OWN) == list(OBJECTIVES)
    assert {name: [key for key in own if key != "delta"] for name, own in OWN.items()} == {
        name: own_options(name) for name in OBJECTIVES
    }
    assert {name: objective.config_class.levels for name, objective in OBJECTIVES.items()} == LEVELS


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
@pytest.mark.parametrize(("anchor", "aggregation"), itertools.product(["proximal", "behavior"], AGGREGATIONS))
@pytest.mark.parametrize("normalizer", [None, 37.0])
def test_every_combination(name, level, anchor, aggregation, normalizer):
    mode, constant = aggregation
    o = options(name, anchor, level, mode, constant)
    compare(name, batch(seed=1), o, normalizer)
    compare(name, batch(seed=2, per_token=True), o, None if normalizer is None else torch.tensor(normalizer))


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_the_penalty_is_added_to_any_surrogate(name, level, anchor):
    if name in COMPOSED:
        compare(name, batch(seed=11), options(name, anchor, level, "sequence_mean", ratio_variance_delta=0.03))


@pytest.mark.parametrize("level", ["token", "response"])
@pytest.mark.parametrize(("anchor", "aggregation"), itertools.product(["proximal", "behavior"], AGGREGATIONS))
def test_the_two_sided_brake(level, anchor, aggregation):
    mode, constant = aggregation
    o = options("r2vpo", anchor, level, mode, constant, brake="two_sided")
    compare("r2vpo", batch(seed=1), o)
    compare("r2vpo", batch(seed=2, per_token=True), o, 37.0)


@pytest.mark.parametrize("brake", ["outward", "two_sided"])
def test_without_a_multiplier_either_brake_is_the_policy_gradient(brake):
    b = batch(seed=15, per_token=True)
    b["advantages"][0, 0] = 0.0
    mine = r2vpo_gradient(b, 0.0, RatioVarianceConfig(brake=brake))
    _, plain, _ = package("policy_gradient", b, options("policy_gradient") | {"stale_weight_cap": 2.0})
    torch.testing.assert_close(mine, plain, **FLOAT64)


def test_a_token_without_advantage_has_no_gradient_outward():
    b = {**spread(16, 3), "advantages": torch.zeros(batch(seed=16)["log_probs"].shape[0], dtype=torch.float64)}
    assert (r2vpo_gradient(b, DUAL, RatioVarianceConfig()) == 0).all()
    assert (r2vpo_gradient(b, DUAL, RatioVarianceConfig(brake="two_sided")) != 0).any()


def with_decisions(b):
    """The batch with a number of decisions for each token, such as an action's dimensions; anything on padding."""
    rows, width = b["response_mask"].shape
    numbers = torch.arange(rows * width, dtype=torch.float64).view(rows, width) / 7
    return {**b, "decisions": torch.where(b["response_mask"], numbers, float("nan"))}


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_decisions_that_are_given(name, level, anchor):
    b, o = with_decisions(batch(seed=1)), options(name, anchor, level)
    b["rollout_log_probs"][0, 1] = float("nan")
    compare(name, b, o)
    if name != "kl_penalty":
        with pytest.raises(AssertionError):
            compare(name, b, o, bug="decisions_ignored")


@pytest.mark.parametrize("name", OBJECTIVES)
def test_decisions_change_no_gradient(name):
    b, o = batch(seed=1), options(name)
    assert torch.equal(package(name, b, o)[1], package(name, with_decisions(b), o)[1])


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
def test_without_rollout_log_probs(name, level):
    compare(name, {**batch(seed=3), "rollout_log_probs": None}, options(name, level=level))


@pytest.mark.parametrize(("name", "level"), [("clip", "token"), ("clip", "response"), ("gspo", "response")])
@pytest.mark.parametrize("dual_clip", [1.1, 3.0])
def test_dual_clip(name, level, dual_clip):
    compare(name, spread(4, 4), options(name, level=level, dual_clip=dual_clip))


def test_cispo_without_a_lower_bound():
    compare("cispo", spread(4, 3), options("cispo", clip_low=None))


@pytest.mark.parametrize("bound", [1e-6, 0.01, 0.3, 5.0])
def test_m2po_from_everything_masked_to_nothing(bound):
    b = spread(14, 2, rows=7)
    o = options("m2po", second_moment=bound)
    compare("m2po", b, o)
    untouched, masked = loops("m2po", b, o, bug="no_mask")[1], package("m2po", b, o)[1]
    assert (bound == 5.0) == torch.equal(untouched != 0, masked != 0)


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_non_finite_rollout_log_probs(name, level, anchor):
    b = batch(seed=5)
    for t, garbage in enumerate([float("nan"), float("inf"), -float("inf")]):
        b["rollout_log_probs"][0, t] = garbage
    compare(name, b, options(name, anchor, level))


@pytest.mark.parametrize(("name", "level"), NAME_LEVELS)
def test_huge_log_ratios_are_clamped_alike(name, level):
    b = batch(seed=6)
    b["log_probs"] = b["log_probs"] * 1000
    compare(name, b, options(name, level=level))


SHARED = ["advantage_sign", "no_stale_weight", "no_cap", "weight_of_current", "denominator_is_width"]
PENALTY = ["penalty_unweighted", "penalty_linear", "no_penalty", "penalty_sign", "penalty_halved"]
CLIPPING = ["bounds_swapped", "no_clip", "max_for_min", "no_dual_clip", "dual_clip_positive"]
BUGS = {
    "r2vpo": ["drawn_back_from_beyond", "drawn_back_to_one", "reach_doubled"],
    "clip": CLIPPING,
    "spo": ["no_absolute", "epsilon_halved"],
    "cispo": ["no_upper", "no_lower", "weight_has_gradient"],
    "gspo": CLIPPING,
    "sapo": ["taus_swapped", "no_scale"],
    "m2po": ["no_mask", "all_tokens", "mean_over_all", "smallest_first"],
    "dppo_tv": ["no_mask", "ratio_for_probability", "thresholds_swapped", "no_ratio_cap", "weight_has_gradient"],
    "vespo": ["mean_for_whole", "signs_swapped", "no_normalisation", "weight_has_gradient"],
    "topr": ["token_ratio", "no_truncation", "positives_weighted", "weight_has_gradient"],
    "p3o": [
        "no_size",
        "no_cap_of_size",
        "cap_below",
        "reverse_kl",
        "share_of_size",
        "size_unweighted",
        "weight_has_gradient",
    ],
    "kl_penalty": ["variance_for_kl", "reverse_kl", "no_penalty", "penalty_sign"],
    "policy_gradient": [],
}


@pytest.mark.parametrize(("name", "bug"), [(name, bug) for name, bugs in BUGS.items() for bug in SHARED + bugs])
def test_a_bug_is_noticed(name, bug):
    b = spread(7, 2, rows=9)
    o = options(name, **({"dual_clip": 1.2} if name == "clip" else {"dual_clip": 1.05} if name == "gspo" else {}))
    compare(name, b, o)
    with pytest.raises(AssertionError):
        compare(name, b, o, bug=bug)


@pytest.mark.parametrize("bug", PENALTY)
def test_a_bug_in_the_two_sided_brake_is_noticed(bug):
    b, o = spread(7, 2, rows=9), options("r2vpo", brake="two_sided")
    compare("r2vpo", b, o)
    with pytest.raises(AssertionError):
        compare("r2vpo", b, o, bug=bug)


@pytest.mark.parametrize("name", COMPOSED)
@pytest.mark.parametrize("bug", PENALTY)
def test_a_bug_in_an_added_penalty_is_noticed(name, bug):
    b = spread(7, 2, rows=9)
    o = options(name, ratio_variance_delta=0.03)
    compare(name, b, o)
    with pytest.raises(AssertionError):
        compare(name, b, o, bug=bug)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_an_ignored_anchor_is_noticed(name):
    with pytest.raises(AssertionError):
        compare(name, batch(seed=8), options(name, "behavior"), bug="anchor_ignored")


@pytest.mark.parametrize("brake", ["outward", "two_sided"])
def test_the_gradient_is_the_braked_advantage(brake):
    b = {**spread(9, 3), "rollout_log_probs": None}
    _, gradient, _ = package("r2vpo", b, options("r2vpo", brake=brake))
    mask, a = b["response_mask"], b["advantages"][:, None]
    r = (b["log_probs"] - b["old_log_probs"]).exp()
    share = 1 - 2 * DUAL * (r - 1) / a
    assert (share[mask] < 0).any() and (share[mask] > 1).any()
    expected = -r * a * (share.clamp(0, 1) if brake == "outward" else share) / mask.sum()
    torch.testing.assert_close(gradient, torch.where(mask, expected, 0.0), **FLOAT64)


@pytest.mark.parametrize("level", ["token", "response"])
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_r2vpo_is_the_policy_gradient_with_the_penalty(anchor, level):
    b, delta = spread(12, 2), 0.05
    ours = package("r2vpo", b, options("r2vpo", anchor, level, delta=delta, brake="two_sided"))
    composed = package("policy_gradient", b, options("policy_gradient", anchor, level, ratio_variance_delta=delta))
    plain = package("policy_gradient", b, options("policy_gradient", anchor, level))
    for mine, theirs in zip(ours[:2], composed[:2], strict=True):
        torch.testing.assert_close(mine, theirs, **FLOAT64)
    assert ours[2].to_tensor().tolist() == composed[2].to_tensor().tolist()
    assert not torch.allclose(ours[1], plain[1])
    outward = package("r2vpo", b, options("r2vpo", anchor, level, delta=delta))
    assert not torch.allclose(ours[1], outward[1]), "the default brake is another loss"
    single = {k: v.float() if v.is_floating_point() else v for k, v in b.items()}
    config = config_of(
        OBJECTIVES["policy_gradient"].config_class, options("policy_gradient", ratio_variance_delta=delta)
    )
    same = config_of(OBJECTIVES["r2vpo"].config_class, options("r2vpo", delta=delta, brake="two_sided"))
    torch.testing.assert_close(
        policy_gradient_loss(**single, dual=DUAL, config=config).loss,
        r2vpo_loss(**single, dual=DUAL, config=same).loss,
        **FLOAT32,
    )


@pytest.mark.parametrize("name", OBJECTIVES)
def test_float32_agrees_with_the_float64_oracle(name):
    b = batch(seed=10)
    single = {k: v.float() if v.is_floating_point() else v for k, v in b.items()}
    loss, gradient, _ = package(name, single, options(name))
    expected, expected_gradient, _, _ = loops(name, b, options(name))
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss.double(), expected, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(gradient.double(), expected_gradient, rtol=1e-5, atol=1e-6)
