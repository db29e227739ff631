"""The options and inputs that objectives refuse, what they report, and the registry."""

import dataclasses
import inspect
import math

import pytest
import torch

from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.objectives import (
    OBJECTIVES,
    CispoConfig,
    ClipConfig,
    DppoTvConfig,
    GspoConfig,
    KLPenaltyConfig,
    LossOutput,
    M2poConfig,
    PolicyGradientConfig,
    RatioVarianceConfig,
    SapoConfig,
    SpoConfig,
    ToprConfig,
    VespoConfig,
    cispo_loss,
    clip_loss,
    dppo_tv_loss,
    find_objective,
    kl_penalty_loss,
    m2po_loss,
    objective_config,
    own_options,
    p3o_loss,
    policy_gradient_loss,
    r2vpo_loss,
    sapo_loss,
    spo_loss,
    topr_loss,
    vespo_loss,
)
from r2vpo.core.objectives.m2po import second_moment_mask
from r2vpo.core.options import choices_of
from r2vpo.core.radius import DELTA
from r2vpo.core.types import DecisionVarianceSums, KLSums

LOSSES = [objective.loss for objective in OBJECTIVES.values()]


def inputs(**change):
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(3, 4, generator=g)
    return {
        "log_probs": old + 0.1, "old_log_probs": old, "advantages": torch.tensor([1.0, -1.0, 0.5]),
        "response_mask": torch.ones(3, 4, dtype=torch.bool), "dual": 2.5, **change,
    }  # fmt: skip


def test_worked_by_hand():
    # Dual 2. r = 1.2, A = 1: 1.2 - 2 * 0.04 = 1.12, short of r* = 1.25.
    # r = 0.5, A = -1: -0.5 - 2 * 0.25 = -1.0; outward it stays at r* = 0.75: -0.75 - 2 * 0.0625 = -0.875.
    arguments = {
        "log_probs": torch.tensor([[0.6], [0.25]]).log(), "old_log_probs": torch.full((2, 1), 0.5).log(),
        "advantages": torch.tensor([1.0, -1.0]), "response_mask": torch.ones(2, 1, dtype=torch.bool),
    }  # fmt: skip
    out = r2vpo_loss(**arguments, dual=2.0, config=RatioVarianceConfig(delta=0.05, brake="two_sided"))
    assert out.loss.item() == pytest.approx(-(1.12 - 1.0) / 2, rel=1e-5)
    outward = r2vpo_loss(**arguments, dual=2.0, config=RatioVarianceConfig(delta=0.05))
    assert outward.loss.item() == pytest.approx(-(1.12 - 0.875) / 2, rel=1e-5)
    assert out.metrics["ratio_variance"].item() == pytest.approx((0.04 + 0.25) / 2, rel=1e-5)
    # Two tokens of probability 0.5 are 2 (0.5 + 0.001) decisions.
    assert out.constraint.to_tensor().tolist() == pytest.approx([0.04 + 0.25, 1.002], rel=1e-5)
    # Clipping at 0.1: min(1.2, 1.1) = 1.1 and min(-0.5, -0.9) = -0.9.
    clipped = clip_loss(**arguments, config=ClipConfig(clip_low=0.1, clip_high=0.1))
    assert clipped.loss.item() == pytest.approx(-(1.1 - 0.9) / 2, rel=1e-5)


def test_a_dual_clip_by_hand():
    arguments = {
        "log_probs": torch.tensor([[4.0]]).log(), "old_log_probs": torch.zeros(1, 1),
        "response_mask": torch.ones(1, 1, dtype=torch.bool),
    }  # fmt: skip
    config = ClipConfig(dual_clip=3.0)
    assert clip_loss(**arguments, advantages=torch.tensor([-1.0]), config=config).loss.item() == pytest.approx(3.0)
    assert clip_loss(**arguments, advantages=torch.tensor([-1.0])).loss.item() == pytest.approx(4.0)
    assert clip_loss(**arguments, advantages=torch.tensor([1.0]), config=config).loss.item() == pytest.approx(-1.2)


def test_without_a_multiplier_it_is_the_policy_gradient():
    arguments = inputs(dual=0.0)
    log_probs = arguments["log_probs"].requires_grad_()
    (gradient,) = torch.autograd.grad(r2vpo_loss(**arguments).loss, log_probs)
    ratio = (log_probs - arguments["old_log_probs"]).exp()
    plain = -(ratio * arguments["advantages"][:, None]).mean()
    torch.testing.assert_close(gradient, torch.autograd.grad(plain, log_probs)[0])


def test_a_multiplier_may_be_a_tensor():
    number = r2vpo_loss(**inputs(dual=1.5)).loss
    torch.testing.assert_close(r2vpo_loss(**inputs(dual=torch.tensor(1.5, dtype=torch.float64))).loss, number)


def test_clip_does_not_look_at_the_multiplier():
    values = {clip_loss(**inputs(dual=dual)).loss.item() for dual in (None, 0.0, 5.0, torch.tensor(9.0))}
    assert len(values) == 1


@pytest.mark.parametrize("loss", LOSSES)
def test_metrics_are_detached_0d_tensors(loss):
    arguments = inputs()
    arguments["log_probs"].requires_grad_()
    out = loss(**arguments)
    assert isinstance(out, LossOutput)
    assert out.loss.dim() == 0 and out.loss.requires_grad
    for value in out.metrics.values():
        assert isinstance(value, torch.Tensor) and value.dim() == 0 and not value.requires_grad
    with pytest.raises(dataclasses.FrozenInstanceError):
        out.loss = out.loss


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_probs": torch.zeros(3)}, r"log_probs has shape \(3,\).*must be \(B, T\)"),
        ({"old_log_probs": torch.zeros(3, 5)}, "old_log_probs has shape"),
        ({"rollout_log_probs": torch.zeros(1, 4)}, "rollout_log_probs has shape"),
        ({"response_mask": torch.ones(3, 4)}, "response_mask is torch.float32.*bool"),
        ({"advantages": torch.zeros(4)}, r"advantages has shape \(4,\).*\(3,\) or \(3, 4\)"),
        ({"advantages": torch.zeros(3, 1)}, "advantages has shape"),
        ({"normalizer": 0.0}, "normalizer is 0.0"),
    ],
)
def test_bad_tensors_are_refused(loss, change, message):
    with pytest.raises(ValueError, match=message):
        loss(**inputs(**change))


@pytest.mark.parametrize("dual", [-0.1, float("nan"), float("inf")])
def test_a_bad_multiplier_is_refused(dual):
    with pytest.raises(ValueError, match=r"dual is .*at least 0.*DualController"):
        r2vpo_loss(**inputs(dual=dual))
    with pytest.raises(ValueError, match=r"dual is .*at least 0.*DualController"):
        policy_gradient_loss(**inputs(dual=dual), config=PolicyGradientConfig(ratio_variance_delta=0.04))


@pytest.mark.parametrize(
    ("loss", "config"),
    [
        (r2vpo_loss, RatioVarianceConfig()),
        (kl_penalty_loss, KLPenaltyConfig()),
        (cispo_loss, CispoConfig(ratio_variance_delta=0.04)),
    ],
)
def test_a_constraint_needs_a_multiplier(loss, config):
    with pytest.raises(ValueError, match=r"dual is None, but the config has a constraint.*DualController"):
        loss(**inputs(dual=None), config=config)


SHARED = [
    ({"anchor": "mean"}, "anchor is 'mean'; choose one of proximal, behavior"),
    ({"level": "group"}, "level is 'group'; choose one of token, response"),
    ({"stale_weight_cap": 0.5}, "stale_weight_cap is 0.5; it must be at least 1"),
    ({"aggregation": "sum"}, "aggregation is 'sum'"),
    ({"aggregation": "constant"}, "aggregation = constant needs objective.constant"),
    ({"aggregation": "token_mean", "constant": 3.0}, "constant = 3 is only used with"),
]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        *((objective.config_class, *case) for objective in OBJECTIVES.values() for case in SHARED),
        (RatioVarianceConfig, {"delta": 0.0}, "delta is 0; it must be at least 1e-09"),
        (RatioVarianceConfig, {"delta": True}, "delta is True; it must be a number"),
        (ClipConfig, {"clip_low": 0.0}, "clip_low is 0; it must be above 0"),
        (ClipConfig, {"clip_low": 1.2}, "clip_low is 1.2; it must be at most 1"),
        (ClipConfig, {"clip_high": -0.2}, "clip_high is -0.2"),
        (ClipConfig, {"dual_clip": 1.0}, "dual_clip is 1; it must be above 1"),
        (ClipConfig, {"ratio_variance_delta": 0.0}, "ratio_variance_delta is 0; it must be at least 1e-09"),
        (SpoConfig, {"epsilon": 0.0}, "epsilon is 0; it must be above 0"),
        (CispoConfig, {"clip_low": 1.5}, "clip_low is 1.5; it must be at most 1"),
        (CispoConfig, {"clip_high": 0.0}, "clip_high is 0; it must be above 0"),
        (GspoConfig, {"level": "token"}, "level is 'token'; choose one of response"),
        (SapoConfig, {"tau_positive": 0.0}, "tau_positive is 0; it must be above 0"),
        (SapoConfig, {"tau_negative": -1.0}, "tau_negative is -1; it must be above 0"),
        (M2poConfig, {"second_moment": 0.0}, "second_moment is 0; it must be above 0"),
        (M2poConfig, {"level": "response"}, "level is 'response'; choose one of token"),
        (DppoTvConfig, {"level": "response"}, "level is 'response'; choose one of token"),
        (DppoTvConfig, {"tv_low": 0.0}, "tv_low is 0; it must be above 0"),
        (DppoTvConfig, {"tv_high": 1.5}, "tv_high is 1.5; it must be at most 1"),
        (DppoTvConfig, {"ratio_cap": 0.5}, "ratio_cap is 0.5; it must be at least 1"),
        (VespoConfig, {"level": "response"}, "level is 'response'; choose one of token"),
        (VespoConfig, {"k_positive": -1.0}, "k_positive is -1; it must be at least 0"),
        (VespoConfig, {"k_negative": -1.0}, "k_negative is -1; it must be at least 0"),
        (VespoConfig, {"lambda_positive": 0.0}, "lambda_positive is 0; it must be above 0"),
        (VespoConfig, {"lambda_negative": 0.0}, "lambda_negative is 0; it must be above 0"),
        (ToprConfig, {"level": "response"}, "level is 'response'; choose one of token"),
        (KLPenaltyConfig, {"kl_target": 0.0}, "kl_target is 0; it must be above 0"),
    ],
)
def test_bad_options_are_refused_when_built(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_every_objective_is_called_alike(name):
    objective = find_objective(name)
    config = objective.config_class()
    assert objective.loss(**inputs(), config=config, normalizer=7.0).loss.isfinite()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.anchor = "behavior"
    parameters = inspect.signature(objective.loss).parameters
    assert list(parameters) == list(inspect.signature(r2vpo_loss).parameters)
    assert all(parameter.kind is inspect.Parameter.KEYWORD_ONLY for parameter in parameters.values())


def test_an_unknown_objective():
    with pytest.raises(ValueError, match=r"objective is 'ppo'.*'r2vpo', 'clip'"):
        find_objective("ppo")


def row(ratios, advantage):
    """One response of given ratios to an anchor of probability 1/2 a token."""
    old = torch.full((1, len(ratios)), 0.5).log()
    return {
        "log_probs": old + torch.tensor([ratios]).log(), "old_log_probs": old, "advantages": torch.tensor([advantage]),
        "response_mask": torch.ones(1, len(ratios), dtype=torch.bool),
    }  # fmt: skip


def coefficients(loss, ratios, advantage, **options):
    """What each token's grad log pi is multiplied by."""
    arguments = row(ratios, advantage)
    log_probs = arguments["log_probs"].requires_grad_()
    (gradient,) = torch.autograd.grad(loss(**arguments, normalizer=1.0, **options).loss, log_probs)
    return (-gradient[0]).tolist()


@pytest.mark.parametrize(
    ("loss", "ratios", "advantage", "expected"),
    [
        # r (A - |A| (r - 1) / 0.2): nothing at 1.2, a turn beyond.
        (spo_loss, [1.0, 1.2, 1.3, 0.8], 2.0, [2.0, 0.0, -1.3, 3.2]),
        (spo_loss, [0.8, 1.1], -1.0, [0.0, -1.65]),
        # min(r, 5) A
        (cispo_loss, [1.2, 8.0, 0.1], 2.0, [2.4, 10.0, 0.2]),
        # M r A: squares .0332, .1644 and .4805; their mean is .226, without the largest .0988, without two .0332.
        (m2po_loss, [1.2, 1.5, 2.0, 0.4], 1.0, [1.2, 0.0, 0.0, 0.4]),
        # Probabilities from 0.5: to 0.62 stays, to 0.7 is cut, to 0.1 with a positive advantage stays.
        (dppo_tv_loss, [1.24, 1.4, 0.2], 1.0, [1.24, 0.0, 0.2]),
        (dppo_tv_loss, [0.8, 0.6, 1.9], -1.0, [-0.8, 0.0, -1.9]),
        # W = 1: weight 1. W = 2: 4 exp(-3) for a positive, 8 exp(-2) for a negative advantage.
        (vespo_loss, [2.0, 0.5], 3.0, [3.0, 3.0]),
        (vespo_loss, [2.0, 1.0], 1.0, [0.199148, 0.199148]),
        (vespo_loss, [2.0, 1.0], -1.0, [-1.082682, -1.082682]),
        # W = 0.25 and W = 4
        (topr_loss, [0.5, 0.5], 2.0, [2.0, 2.0]),
        (topr_loss, [0.5, 0.5], -2.0, [-0.5, -0.5]),
        (topr_loss, [4.0, 1.0], -2.0, [-2.0, -2.0]),
        # e = 2.5^2 / (2 (4 + 0.25)) = 0.7353: min(2, e) - (1 - e) 2 log 2, and 0.5 - (1 - e) 0.5 log 0.5.
        (p3o_loss, [2.0, 0.5], 1.0, [0.368333, 0.591741]),
        (p3o_loss, [1.0, 1.0], 2.0, [2.0, 2.0]),
        (policy_gradient_loss, [1.5, 0.5], -2.0, [-3.0, -1.0]),
    ],
)
def test_gradients_by_hand(loss, ratios, advantage, expected):
    assert coefficients(loss, ratios, advantage) == pytest.approx(expected, rel=1e-4, abs=1e-6)


def test_sapo_by_hand():
    # 4 p (1 - p) r A / T with p = sigmoid(tau (r - 1)), T = 2 tokens: the mean of a response.
    config = SapoConfig(tau_positive=2.0, tau_negative=1.0)
    p = 1 / (1 + math.exp(-1.0))
    assert coefficients(sapo_loss, [1.0, 1.5], 1.0, config=config) == pytest.approx([0.5, 3 * p * (1 - p)])
    p = 1 / (1 + math.exp(-0.5))
    assert coefficients(sapo_loss, [1.0, 1.5], -1.0, config=config) == pytest.approx([-0.5, -3 * p * (1 - p)])


def test_the_divergence_by_hand():
    # r A - 3 (r - 1): 1.2 - 0.6 and 0.5 + 1.5.
    assert coefficients(kl_penalty_loss, [1.2, 0.5], 1.0, dual=3.0) == pytest.approx([0.6, 2.0], rel=1e-4)
    out = kl_penalty_loss(**row([1.2, 0.5], 1.0), dual=3.0, config=KLPenaltyConfig(kl_target=0.02))
    kl = (0.2 - math.log(1.2) - 0.5 - math.log(0.5)) / 2
    assert isinstance(out.constraint, KLSums)
    assert float(out.constraint.value()) == float(out.metrics["kl"]) == pytest.approx(kl, rel=1e-4)
    assert float(out.metrics["ratio_variance"]) == pytest.approx((0.04 + 0.25) / 2, rel=1e-4)
    assert float(out.loss) == pytest.approx(-(1.7 / 2 - 3 * kl), rel=1e-4)


def test_which_tokens_m2po_keeps():
    def kept(log_ratios, advantage, bound, mask=None):
        x = torch.tensor([log_ratios])
        mask = torch.ones_like(x, dtype=torch.bool) if mask is None else torch.tensor([mask])
        return second_moment_mask(x, torch.tensor([[advantage]]), mask, bound)[0].tolist()

    assert kept([0.1, 0.3, 0.2], 1.0, 0.05) == [True, True, True]  # (1 + 9 + 4) / 300 = 0.0467
    assert kept([0.1, 0.3, 0.2], 1.0, 0.04) == [True, False, True]
    assert kept([0.1, 0.3, 0.2], 1.0, 0.02) == [True, False, False]
    assert kept([0.1, 0.3, 0.2], 1.0, 0.005) == [False, False, False]
    assert kept([-0.1, -9.0, 0.2], 1.0, 0.005) == [True, True, False]  # falling with A > 0: not looked at
    assert kept([-0.1, -9.0, 0.2], -1.0, 0.02) == [True, False, True]
    assert kept([9.0, 9.0, 9.0], 0.0, 0.02) == [True, True, True]  # no advantage
    assert kept([9.0, 0.1, 0.1], 1.0, 0.02, [False, True, True]) == [True, True, True]  # padding


def test_what_is_constrained():
    targets = {name: objective.config_class().constraint_target for name, objective in OBJECTIVES.items()}
    assert {name: target for name, target in targets.items() if target} == {"r2vpo": DELTA, "kl_penalty": 0.01}
    assert CispoConfig(ratio_variance_delta=0.1).constraint_target == 0.1
    for name, objective in OBJECTIVES.items():
        out = objective.loss(**inputs())
        assert isinstance(out.constraint, KLSums if name == "kl_penalty" else DecisionVarianceSums)
        assert ("dual" in out.metrics) == (name in ("r2vpo", "kl_penalty"))


def test_the_multiplier_is_read_with_a_penalty_alone():
    for name, objective in OBJECTIVES.items():
        first, second = (objective.loss(**inputs(dual=dual)).loss.item() for dual in (0.5, 5.0))
        assert (first != second) == (name in ("r2vpo", "kl_penalty"))
        if name not in ("r2vpo", "kl_penalty"):
            config = objective.config_class(ratio_variance_delta=0.04)
            first, second = (objective.loss(**inputs(dual=dual), config=config).loss.item() for dual in (0.5, 5.0))
            assert first != second


def test_a_config_from_names():
    assert (
        own_options("cispo") == ["clip_low", "clip_high"]
        and own_options("r2vpo") == ["brake"]
        and own_options("topr") == []
    )
    chosen = ObjectiveOptions("cispo", anchor="behavior", options={"clip_high": 2.0}, ratio_variance=0.1)
    assert objective_config(chosen) == CispoConfig(clip_high=2.0, anchor="behavior", ratio_variance_delta=0.1)
    chosen = ObjectiveOptions(delta=0.1, options={"brake": "two_sided"})
    assert objective_config(chosen) == RatioVarianceConfig(delta=0.1, brake="two_sided")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"name": "cispo", "options": {"clip_hi": 0.2}},
            r"^options.clip_hi is not an option of 'cispo'.*did you mean clip_high\? it has clip_low, ",
        ),
        ({"name": "spo", "options": {"level": "token"}}, r"^options.level is not an option of 'spo'.*it has epsilon"),
        ({"name": "topr", "options": {"tau": 1.0}}, r"tau is not an option of 'topr'.*it has none"),
        ({"name": "spo", "options": {"epsilon": "wide"}}, r"^options.epsilon is 'wide'; it must be a number"),
        ({"name": "dpo"}, r"^name is 'dpo'; choose one of r2vpo, clip, "),
        ({"options": {"brake": "inward"}}, r"^options.brake is 'inward'; choose one of outward, two_sided"),
        ({"ratio_variance": {"delta": 0.04}}, r"^ratio_variance is r2vpo's own penalty: set objective.delta"),
        ({"name": "kl_penalty", "ratio_variance": 0.04}, r"needs the multiplier.*objective.name=policy_gradient"),
        ({"name": "spo", "ratio_variance": -1.0}, r"^ratio_variance.delta is -1; it must be at least 1e-09"),
    ],
)
def test_a_config_from_wrong_names(options, message):
    with pytest.raises(ValueError, match=message):
        ObjectiveOptions(**options)


def test_every_objective_is_among_the_choices():
    assert choices_of(ObjectiveOptions, "name") == tuple(OBJECTIVES)


@pytest.mark.parametrize("name", OBJECTIVES)
def test_the_loss_documents_itself(name):
    loss = OBJECTIVES[name].loss
    assert loss.__name__ == f"{name}_loss"
    assert loss.__module__.endswith("ratio_variance" if name == "r2vpo" else name)
    assert "Source:" in loss.__doc__ and "rollout_log_probs: (B, T) nats" in loss.__doc__
