"""The options and inputs that objectives refuse, what they report, and the registry."""

import dataclasses
import inspect

import pytest
import torch

from r2vpo.core.objectives import (
    OBJECTIVES,
    ClipConfig,
    LossOutput,
    RatioVarianceConfig,
    clip_loss,
    find_objective,
    r2vpo_loss,
)

LOSSES = [r2vpo_loss, clip_loss]


def inputs(**change):
    g = torch.Generator().manual_seed(0)
    old = -torch.rand(3, 4, generator=g)
    return {
        "log_probs": old + 0.1, "old_log_probs": old, "advantages": torch.tensor([1.0, -1.0, 0.5]),
        "response_mask": torch.ones(3, 4, dtype=torch.bool), "dual": 2.5, **change,
    }  # fmt: skip


def test_worked_by_hand():
    # Dual 2, delta 0.05. r = 1.2, A = 1: 1.2 - 2 (0.04 - 0.05) = 1.22.
    # r = 0.5, A = -1: -0.5 - 2 (0.25 - 0.05) = -0.9.
    arguments = {
        "log_probs": torch.tensor([[1.2], [0.5]]).log(), "old_log_probs": torch.zeros(2, 1),
        "advantages": torch.tensor([1.0, -1.0]), "response_mask": torch.ones(2, 1, dtype=torch.bool),
    }  # fmt: skip
    out = r2vpo_loss(**arguments, dual=2.0, config=RatioVarianceConfig(delta=0.05))
    assert out.loss.item() == pytest.approx(-(1.22 - 0.9) / 2, rel=1e-5)
    assert out.metrics["ratio_variance"].item() == pytest.approx((0.04 + 0.25) / 2, rel=1e-5)
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


SHARED = [
    ({"anchor": "mean"}, "anchor is 'mean'.*'proximal', 'behavior'"),
    ({"level": "group"}, "level is 'group'.*'token', 'response'"),
    ({"stale_weight_cap": 0.5}, "stale_weight_cap is 0.5.*at least 1"),
    ({"aggregation": "sum"}, "aggregation is 'sum'"),
    ({"aggregation": "constant"}, "constant is None"),
    ({"constant": 3.0}, "constant is 3.0"),
]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        *((RatioVarianceConfig, *case) for case in SHARED),
        *((ClipConfig, *case) for case in SHARED),
        (RatioVarianceConfig, {"delta": 0.0}, "delta is 0.0.*greater than 0.*0.04"),
        (RatioVarianceConfig, {"delta": True}, "delta is True.*must be a number"),
        (ClipConfig, {"clip_low": 0.0}, "clip_low is 0.0.*greater than 0"),
        (ClipConfig, {"clip_low": 1.2}, "clip_low is 1.2.*at most 1"),
        (ClipConfig, {"clip_high": -0.2}, "clip_high is -0.2"),
        (ClipConfig, {"dual_clip": 1.0}, "dual_clip is 1.0.*greater than 1"),
    ],
)
def test_bad_options_are_refused_when_built(kind, options, message):
    with pytest.raises(ValueError, match=message):
        kind(**options)


def test_no_cap_is_an_option():
    assert RatioVarianceConfig(stale_weight_cap=float("inf")).stale_weight_cap == float("inf")


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
    assert list(OBJECTIVES) == ["r2vpo", "clip"]
    with pytest.raises(ValueError, match=r"objective is 'ppo'.*'r2vpo', 'clip'"):
        find_objective("ppo")
