"""Ratios and stale weights: by hand, at the extremes, with sampler log-probabilities that are not finite."""

import math

import pytest
import torch

from r2vpo.core.objectives import OBJECTIVES, RatioVarianceConfig, r2vpo_loss
from r2vpo.core.ratios import anchored_ratios, logit_movement, stale_weight
from tests.tolerances import FLOAT32, FLOAT64

LOSSES = [(objective.loss, objective.config_class) for objective in OBJECTIVES.values()]
NAN, INF = float("nan"), float("inf")


def logs(*rows):
    return torch.tensor(rows, dtype=torch.float64).log()


def close(result, expected):
    torch.testing.assert_close(result, torch.tensor(expected, dtype=result.dtype), **FLOAT64)


MASK = torch.tensor([[True, True, False], [True, True, True]])
OLD = logs([0.5, 0.2, 0.9], [0.1, 0.4, 0.4])
ROLLOUT = logs([0.25, 0.4, 0.1], [0.2, 0.4, 0.1])


def test_token_weights_by_hand():
    close(stale_weight(OLD, ROLLOUT, MASK, 3.0, "token"), [[2.0, 0.5, 0.0], [0.5, 1.0, 3.0]])
    close(stale_weight(OLD, ROLLOUT, MASK, 1.5, "token"), [[1.5, 0.5, 0.0], [0.5, 1.0, 1.5]])


def test_response_weights_by_hand():
    # Geometric means: sqrt(2 * 0.5) = 1 and cbrt(0.5 * 1 * 4) = 2 ** (1 / 3).
    third = 2 ** (1 / 3)
    close(stale_weight(OLD, ROLLOUT, MASK, 3.0, "response"), [[1.0, 1.0, 0.0], [third, third, third]])
    close(stale_weight(OLD, ROLLOUT, MASK, 1.1, "response"), [[1.0, 1.0, 0.0], [1.1, 1.1, 1.1]])


def test_a_trainer_that_samples_itself_has_weights_of_one():
    close(stale_weight(OLD, None, MASK), [[1.0, 1.0, 0.0], [1.0, 1.0, 1.0]])


@pytest.mark.parametrize("garbage", [NAN, INF, -INF])
def test_a_sampler_that_is_not_finite_has_weight_one(garbage):
    rollout = ROLLOUT.clone()
    rollout[1, 2] = garbage
    close(stale_weight(OLD, rollout, MASK, 3.0, "token")[1], [0.5, 1.0, 1.0])
    close(stale_weight(OLD, rollout, MASK, 3.0, "response")[1], [0.5 ** (1 / 3)] * 3)  # its log-ratio counts as 0


@pytest.mark.parametrize(("loss", "kind"), LOSSES)
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
def test_tokens_that_are_not_finite_are_counted(loss, kind, anchor):
    rollout = torch.full_like(OLD, NAN)
    rollout[1] = ROLLOUT[1]
    out = loss(
        log_probs=OLD + 0.1, old_log_probs=OLD, advantages=torch.ones(2), response_mask=MASK, dual=1.0,
        rollout_log_probs=rollout, config=kind(anchor=anchor),
    )  # fmt: skip
    assert int(out.metrics["non_finite_log_probs"]) == 2  # the third stands in padding
    assert out.loss.isfinite()


def test_under_the_behavior_anchor_their_ratio_is_one():
    rollout = ROLLOUT.clone()
    rollout[0, 0] = NAN
    config = RatioVarianceConfig(anchor="behavior")
    ratios, _ = anchored_ratios(
        log_probs=OLD, old_log_probs=OLD, response_mask=MASK, rollout_log_probs=rollout, options=config
    )
    close(ratios.ratio_minus_1 + 1, [[1.0, 0.5, 1.0], [0.5, 1.0, 4.0]])
    assert ratios.stale_weight is None


@pytest.mark.parametrize(
    ("anchor", "level"), [("proximal", "response"), ("behavior", "token"), ("behavior", "response")]
)
def test_the_movement_is_per_token_and_since_the_rounds_start_whatever_the_objective(anchor, level):
    log_probs = (OLD + logs([1.1, 0.8, 7.0], [1.0, 1.2, 1.0])).requires_grad_()
    arguments = dict(
        log_probs=log_probs,
        old_log_probs=OLD,
        response_mask=MASK,
        rollout_log_probs=ROLLOUT.clone().fill_diagonal_(NAN),
    )
    config = RatioVarianceConfig(anchor=anchor, level=level)
    _, proximal = anchored_ratios(**arguments, options=config)
    close(proximal.ratio_minus_1 + 1, [[1.1, 0.8, 1.0], [1.0, 1.2, 1.0]])
    close(proximal.stale_weight, [[1.0, 0.5, 0.0], [0.5, 1.0, 2.0]])
    close(proximal.decisions, [[0.501, 0.801, 0.0], [0.901, 0.601, 0.601]])
    assert not proximal.log_ratio.requires_grad
    assert proximal.non_finite.tolist() == [[True, False, False], [False, True, False]]
    # Under the defaults they are the objective's own.
    own, nothing = anchored_ratios(**arguments, options=RatioVarianceConfig())
    assert nothing is None
    for name in ("log_ratio", "ratio_minus_1", "stale_weight", "decisions", "anchor_log_probs"):
        torch.testing.assert_close(getattr(own.detach(), name), getattr(proximal, name), rtol=0, atol=0)


def test_the_behavior_anchor_needs_the_sampler():
    with pytest.raises(ValueError, match=r"rollout_log_probs is None.*set anchor to 'proximal'"):
        r2vpo_loss(
            log_probs=OLD, old_log_probs=OLD, advantages=torch.ones(2), response_mask=MASK, dual=1.0,
            config=RatioVarianceConfig(anchor="behavior"),
        )  # fmt: skip


@pytest.mark.parametrize(("loss", "kind", "level"), [(*pair, level) for pair in LOSSES for level in pair[1].levels])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("anchor", ["proximal", "behavior"])
@pytest.mark.parametrize("size", [1e3, -1e3, INF, -INF])
def test_huge_log_ratios_stay_finite(loss, kind, dtype, level, anchor, size):
    old = torch.full((2, 3), -2.0, dtype=dtype)
    log_probs = (old + size).clone().requires_grad_()
    out = loss(
        log_probs=log_probs, old_log_probs=old, advantages=torch.tensor([1.0, -1.0]), response_mask=MASK,
        dual=2.5, rollout_log_probs=old - size if math.isfinite(size) else old,
        config=kind(level=level, anchor=anchor),
    )  # fmt: skip
    out.loss.backward()
    assert out.loss.dtype == torch.float32
    assert out.loss.isfinite() and log_probs.grad.isfinite().all()
    assert all(value.isfinite() for value in out.metrics.values())
    assert out.constraint.value().isfinite()


def test_a_small_deviation_is_not_lost_in_float32():
    # exp(1e-6) - 1 in float32 is off by 5 %: the first steps of a slow start would measure rounding.
    log_probs = torch.full((1, 4), 1e-6)
    sums = logit_movement(log_probs, torch.zeros(1, 4), torch.ones(1, 4, dtype=torch.bool))
    assert float(sums.numerator) == pytest.approx(4e-12, rel=1e-4)


@pytest.mark.parametrize("size", [1e-6, 1e-4, 0.0099, 0.0101, 0.3, -1e-6, -0.0099, -0.0101, -3.0])
def test_the_movement_is_exact_at_every_size(size):
    exact = torch.tensor(size, dtype=torch.float64)
    sums = logit_movement(torch.full((1, 1), size) - 1.0, torch.tensor([[-1.0]]), torch.ones(1, 1, dtype=torch.bool))
    wide = logit_movement(exact.view(1, 1), torch.zeros(1, 1).double(), torch.ones(1, 1, dtype=torch.bool))
    assert float(wide.numerator) == pytest.approx(2 * float(exact.expm1() - exact), rel=1e-3)
    if abs(size) > 0.001:  # -1 + size is rounded in float32
        assert float(sums.numerator) == pytest.approx(2 * float(exact.expm1() - exact), rel=1e-3)


@pytest.mark.parametrize(("loss", "kind"), LOSSES)
@pytest.mark.parametrize(("anchor", "sampled"), [("proximal", True), ("proximal", False), ("behavior", True)])
def test_nor_in_an_objective(loss, kind, anchor, sampled):
    old = torch.zeros(1, 4)
    out = loss(
        log_probs=old + 1e-6, old_log_probs=old, advantages=torch.ones(1), dual=1.0,
        response_mask=torch.ones(1, 4, dtype=torch.bool), rollout_log_probs=old if sampled else None,
        config=kind(anchor=anchor),
    )  # fmt: skip
    assert float(out.metrics["ratio_variance"]) == pytest.approx(1e-12, rel=1e-4)


def test_logit_movement_by_hand():
    log_probs = OLD + logs([1.1, 0.8, 7.0], [1.0, 1.2, 1.0])
    sums = logit_movement(log_probs, OLD, MASK)
    up, down, more = (2 * (r - 1 - math.log(r)) for r in (1.1, 0.8, 1.2))
    # Probabilities 0.5, 0.2 and 0.1, 0.4, 0.4 of the sampled tokens.
    close(sums.to_tensor(), [up + down + more, 0.501 + 0.801 + 0.901 + 0.601 + 0.601])
    weight = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 3.0]], dtype=torch.float64)
    sums = logit_movement(log_probs.requires_grad_(), OLD, MASK, weight)
    decided = 2 * 0.501 + 0.5 * 0.801 + 0.5 * 0.901 + 0.601 + 3 * 0.601
    close(sums.to_tensor(), [2 * up + 0.5 * down + more, decided])
    assert not sums.numerator.requires_grad


def test_a_small_movement_is_the_objectives_variance_per_decision():
    log_probs = OLD + 1e-5
    out = r2vpo_loss(
        log_probs=log_probs, old_log_probs=OLD, advantages=torch.ones(2), response_mask=MASK, dual=1.0,
        rollout_log_probs=ROLLOUT,
    )  # fmt: skip
    sums = logit_movement(log_probs, OLD, MASK, stale_weight(OLD, ROLLOUT, MASK))
    torch.testing.assert_close(sums.to_tensor(), out.constraint.to_tensor(), rtol=1e-4, atol=0.0)


def test_bf16_log_probs_are_subtracted_in_float32():
    exact = torch.tensor([[-5.03125, -4.96875]])
    old = torch.tensor([[-5.0, -5.0]])
    mask = torch.ones(1, 2, dtype=torch.bool)
    sums = logit_movement(exact.bfloat16(), old.bfloat16(), mask)
    torch.testing.assert_close(sums.to_tensor(), logit_movement(exact, old, mask).to_tensor(), **FLOAT32)
