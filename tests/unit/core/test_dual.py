"""The multiplier: the closed form on a solved bandit, the ascent to the root of the dual, bounds, state."""

import math

import pytest
import torch

from r2vpo.core.dual import DOUBLING_LIMIT, DualController, advantage_moments, closed_form_dual, objective_moments
from r2vpo.core.objectives.ratio_variance import RatioVarianceConfig, r2vpo_loss
from r2vpo.core.options import DualOptions
from r2vpo.core.ratios import stale_weight
from r2vpo.core.types import DecisionVarianceSums, KLSums, MomentSums
from tests.unit.core.bandit import Bandit


def variance(value, weight=10.0):
    return DecisionVarianceSums(torch.tensor(value * weight), torch.tensor(weight))


def moments(value):
    return MomentSums(torch.tensor(value * 8.0), torch.tensor(8.0))


def ascent(delta=0.04, **options):
    return DualController(DualOptions(**{"kind": "ascent"} | options), delta=delta)


def moments_of(bandit):
    b = bandit.arguments()
    weight = stale_weight(b["old_log_probs"], b["rollout_log_probs"], b["response_mask"], cap=float("inf"))
    return advantage_moments(b["advantages"], b["response_mask"], b["old_log_probs"], weight)


@pytest.mark.parametrize("delta", [0.01, 0.04])
@pytest.mark.parametrize("stale", [False, True])
def test_at_the_closed_form_the_solved_bandit_has_variance_delta(delta, stale):
    bandit = Bandit(stale=stale)
    optimum = DualController(DualOptions(kind="closed_form"), delta=delta).begin_round(moments_of(bandit))
    reached = float(bandit.solve(optimum).value())
    assert reached == pytest.approx(delta, rel=0.01)
    ratios = torch.softmax(bandit.theta.detach(), 0) / bandit.old.exp()
    torch.testing.assert_close(ratios, 1 + bandit.advantages / (2 * optimum), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("stale", [False, True])
def test_outward_every_ratio_comes_to_its_optimum_and_may_go_beyond(stale):
    bandit = Bandit(stale=stale)
    optimum = closed_form_dual(float(moments_of(bandit).value()), 0.04)
    reached = float(bandit.solve(optimum, brake="outward").value())
    assert reached > 0.99 * 0.04  # the target is a floor here: nothing draws back
    way = bandit.advantages.sign() * (torch.softmax(bandit.theta.detach(), 0) / bandit.old.exp() - 1)
    assert (way >= bandit.advantages.abs() / (2 * optimum) - 1e-3).all()


@pytest.mark.parametrize("wrong", [0.5, 2.0])
def test_another_multiplier_misses_delta(wrong):
    bandit = Bandit()
    optimum = closed_form_dual(float(moments_of(bandit).value()), 0.01)
    reached = float(bandit.solve(wrong * optimum).value())
    assert reached == pytest.approx(0.01 / wrong**2, rel=0.01)  # V falls with the square of lambda
    assert reached != pytest.approx(0.01, rel=0.5)


def root_of_the_dual(second_moment, delta):
    """Bisection on g'(lambda) = delta - E[A^2] / (4 lambda^2)."""
    low, high = 1e-6, 1e6
    for _ in range(200):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if delta - second_moment / (4 * middle**2) < 0 else (low, middle)
    return low


@pytest.mark.parametrize("first", [1.0, 12.0])
@pytest.mark.parametrize("stale", [False, True])
def test_ascent_reaches_the_root_of_the_dual(first, stale):
    bandit, delta = Bandit(stale=stale), 0.04
    controller = DualController(DualOptions(kind="ascent", upper=50.0, value=first), delta=delta)
    root = root_of_the_dual(float(moments_of(bandit).value()), delta)
    for _ in range(50):
        controller.update(bandit.solve(controller.value, iterations=15))
    assert controller.value == pytest.approx(root, rel=0.05)
    assert first != pytest.approx(root, rel=0.5)


def test_the_first_value_is_the_closed_form():
    controller = DualController(delta=0.04)
    assert controller.value == pytest.approx(2.5)  # for advantages of variance 1, before any batch
    assert controller.begin_round(moments(0.25)) == pytest.approx(1.25)  # sqrt(0.25 / 0.04) / 2
    assert controller.value == pytest.approx(1.25)


def test_a_later_round_moves_the_ceiling_and_not_the_value():
    controller = ascent()
    controller.begin_round(moments(1.0))
    controller.update(variance(0.0))
    value = controller.value
    assert controller.begin_round(moments(4.0)) == pytest.approx(value)
    assert controller.begin_round(moments(0.01)) == pytest.approx(0.25)  # the ceiling fell below the value


def test_one_update_by_hand():
    controller = ascent(upper=50.0)
    controller.begin_round(moments(1.0))
    assert controller.update(variance(0.06)) == pytest.approx(2.5 * math.exp(0.1 * 0.5), rel=1e-6)
    assert controller.update(variance(40.0)) == pytest.approx(2.5 * math.exp(0.15), rel=1e-6)  # clipped at 1
    assert controller.update(variance(0.0)) == pytest.approx(2.5 * math.exp(0.05), rel=1e-6)


def test_micro_batches_are_one_update():
    parts = [variance(0.01, 30.0), variance(0.10, 10.0)]
    whole, each = ascent(upper=50.0), ascent(upper=50.0)
    whole.update(parts[0] + parts[1])  # V = (0.3 + 1.0) / 40 = 0.0325
    assert whole.value == pytest.approx(2.5 * math.exp(0.1 * (0.0325 / 0.04 - 1)), rel=1e-6)
    for part in parts:
        each.update(part)
    assert each.value != pytest.approx(whole.value, rel=1e-3)


def test_ratios_of_one_leave_a_brake():
    controller = ascent(lower=0.02)
    controller.begin_round(moments(1.0))
    values = [controller.update(variance(0.0)) for _ in range(500)]
    assert values[0] < 2.5 and values[-1] == 0.02
    assert min(values) >= 0.02


def test_wind_up_stays_at_the_batchs_own_optimum():
    controller = ascent()
    controller.begin_round(moments(1.0))
    values = [controller.update(variance(100.0)) for _ in range(200)]
    assert max(values) <= 2.5
    free = ascent(upper=1e9)
    free.begin_round(moments(1.0))
    assert max(free.update(variance(100.0)) for _ in range(200)) > 1e6  # without the ceiling it does wind up


def test_an_explicit_upper_bound():
    controller = ascent(upper=3.0)
    controller.begin_round(moments(100.0))
    assert controller.value == 3.0
    assert controller.update(variance(1.0)) == 3.0


def test_a_batch_without_signal_changes_nothing():
    controller = ascent()
    controller.begin_round(moments(1.0))
    for sums in (moments(0.0), MomentSums.zero(), moments(float("nan"))):
        assert controller.begin_round(sums) == pytest.approx(2.5)
    assert DualController(delta=0.04).begin_round(moments(0.0)) == pytest.approx(2.5)


def test_nothing_measured_changes_nothing_and_a_variance_that_is_not_finite_brakes():
    controller = ascent(upper=50.0)
    assert controller.update(DecisionVarianceSums.zero()) == 2.5
    assert controller.update(variance(float("nan"))) == pytest.approx(2.5 * math.exp(0.1))
    assert controller.update(variance(float("inf"))) == pytest.approx(2.5 * math.exp(0.2))


def test_closed_form_follows_the_batch_alone():
    controller = DualController(DualOptions(kind="closed_form"), delta=0.04)
    assert controller.begin_round(moments(1.0)) == pytest.approx(2.5)
    assert controller.update(variance(1.0)) == pytest.approx(2.5)
    assert controller.begin_round(moments(4.0)) == pytest.approx(5.0)


@pytest.mark.parametrize("value", [0.0, 0.7, 90.0])
def test_fixed_stays(value):
    controller = DualController(DualOptions(kind="fixed", value=value))
    controller.begin_round(moments(4.0))
    controller.update(variance(1.0))
    controller.load_state_dict(DualController().state_dict())
    assert controller.value == value


def test_state_goes_round():
    first = ascent()
    first.begin_round(moments(0.5))
    first.update(variance(0.01))
    second = ascent()
    second.load_state_dict(first.state_dict())
    for sums in (variance(0.09), variance(9.0), variance(9.0), variance(0.02)):
        assert second.update(sums) == first.update(sums)
    assert second.begin_round(moments(9.0)) == first.begin_round(moments(9.0))  # not a first round again
    with pytest.raises(ValueError, match="lacks ceiling, measured, started, target"):
        second.load_state_dict({"value": 1.0})


def doubling(**options):
    return DualController(DualOptions(kind="doubling", **options), delta=0.01)


@pytest.mark.parametrize(
    ("kl", "factor"),
    [(0.0151, 2.0), (0.0149, 1.0), (0.01, 1.0), (0.0068, 1.0), (0.0066, 0.5), (float("inf"), 2.0), (float("nan"), 2.0)],
)
def test_ppos_rule_by_hand(kl, factor):
    controller = doubling(value=3.0)
    controller.update(KLSums(torch.tensor(kl * 8.0), torch.tensor(8.0)))
    assert controller.value == 3.0  # not before the round has ended
    assert controller.begin_round(moments(5.0)) == 3.0 * factor
    assert controller.begin_round(moments(5.0)) == 3.0 * factor  # nothing measured since


def test_the_last_step_of_a_round_counts():
    controller = doubling()
    for kl in (0.0, 0.5, 0.001):
        controller.update(KLSums(torch.tensor(kl), torch.tensor(1.0)))
    controller.update(KLSums.zero())
    assert controller.value == 1.0 and controller.begin_round(moments(0.0)) == 0.5


def test_doubling_stays_within_its_bounds():
    controller = doubling(upper=5.0, lower=0.3)
    seen = []
    for kl in (1.0,) * 4 + (0.0,) * 8:
        controller.update(KLSums(torch.tensor(kl), torch.tensor(1.0)))
        seen.append(controller.begin_round(moments(1.0)))
    assert seen == [2.0, 4.0, 5.0, 5.0, 2.5, 1.25, 0.625, 0.3125, 0.3, 0.3, 0.3, 0.3]
    free = doubling()
    for _ in range(2000):
        free.update(KLSums(torch.tensor(float("nan")), torch.tensor(1.0)))
        free.begin_round(moments(1.0))
    assert free.value == DOUBLING_LIMIT


@pytest.mark.parametrize("first", [1.0, 12.0])
def test_doubling_comes_within_a_factor_of_two_of_the_root(first):
    # No nearer for certain: V falls with the square of lambda, so that one halving crosses the whole tolerance.
    bandit, delta = Bandit(), 0.04
    root = closed_form_dual(float(moments_of(bandit).value()), delta)
    controller = DualController(DualOptions(kind="doubling", value=first), delta=delta)
    for _ in range(10):
        controller.update(bandit.solve(controller.value, iterations=60))
        controller.begin_round(moments_of(bandit))
    assert root / 2 <= controller.value <= 2 * root
    assert not root / 2 <= first <= 2 * root


def test_doubling_goes_on_within_a_round():
    first = doubling(value=2.0)
    first.update(KLSums(torch.tensor(1.0), torch.tensor(1.0)))
    second = doubling(value=2.0)
    second.load_state_dict(first.state_dict())
    assert second.begin_round(moments(1.0)) == first.begin_round(moments(1.0)) == 4.0


def test_doubling_takes_over_no_ceiling_of_a_batch():
    first = DualController(DualOptions(kind="closed_form"), delta=0.01)
    first.begin_round(moments(1.0))
    second = doubling()
    second.load_state_dict(first.state_dict())
    assert second.value == pytest.approx(5.0)
    second.update(KLSums(torch.tensor(1.0), torch.tensor(1.0)))
    assert second.begin_round(moments(1.0)) == pytest.approx(10.0)


def test_advantage_moments_by_hand():
    mask = torch.tensor([[True, True], [True, False]])
    old = torch.tensor([[0.2, 0.7], [0.999, 0.5]]).log()
    sums = advantage_moments(torch.tensor([1.0, -2.0]), mask, old)
    assert sums.to_tensor().tolist() == pytest.approx([6.0, 0.801 + 0.301 + 0.002])  # 1 + 1 + 4 over three tokens
    weight = torch.tensor([[1.0, 2.0], [0.5, 0.0]])
    sums = advantage_moments(torch.tensor([[1.0, 3.0], [-2.0, float("nan")]]), mask, old, weight)
    # 1 + 2 * 9 + 0.5 * 4
    assert sums.to_tensor().tolist() == pytest.approx([21.0, 0.801 + 2 * 0.301 + 0.5 * 0.002])
    sums = advantage_moments(torch.tensor([1.0, -2.0]), mask, old, level="response")
    assert sums.to_tensor().tolist() == pytest.approx([6.0, (0.801 + 0.301) / 2 + 0.002])
    # A mean of (1 - 3) / 2, twice, and of -2, once.
    of_tokens = torch.tensor([[1.0, -3.0], [-2.0, float("nan")]])
    sums = advantage_moments(of_tokens, mask, old, level="response")
    assert sums.to_tensor().tolist() == pytest.approx([6.0, (0.801 + 0.301) / 2 + 0.002])


def test_at_level_response_the_maximiser_has_the_target_also_with_advantages_of_tokens():
    """Newton's method on the two-sided Lagrangian of responses that share one ratio, without the closed form of r*."""
    torch.manual_seed(0)
    mask = torch.arange(6) < torch.tensor([[6], [3], [1], [5]])
    old, advantages = -2.0 * torch.rand(4, 6, dtype=torch.float64), torch.randn(4, 6, dtype=torch.float64)
    options = RatioVarianceConfig(level="response", brake="two_sided")
    sums = objective_moments(options, advantages=advantages, response_mask=mask, old_log_probs=old)
    dual = closed_form_dual(float(sums.value()), 0.01)
    shift = torch.zeros(4, 1, dtype=torch.float64, requires_grad=True)  # of the log-prob of each token of a response
    for _ in range(30):
        inputs = dict(log_probs=old + shift, old_log_probs=old, advantages=advantages, response_mask=mask)
        output = r2vpo_loss(**inputs, dual=dual, config=options)
        (slope,) = torch.autograd.grad(output.loss, shift, create_graph=True)
        (curvature,) = torch.autograd.grad(slope.sum(), shift)
        shift = (shift - slope / curvature).detach().requires_grad_()
    assert float(output.constraint.value()) == pytest.approx(0.01, rel=1e-9)


def test_the_target_is_that_of_the_round():
    controller = DualController(delta=0.01)
    assert controller.begin_round(moments(1.0), target=0.04) == pytest.approx(2.5)  # sqrt(1 / 0.04) / 2
    assert controller.target == pytest.approx(0.04)
    assert controller.begin_round(moments(1.0), target=1.0) == pytest.approx(0.5)
    climbing = ascent(delta=0.01, upper=50.0)
    climbing.begin_round(moments(1.0), target=0.04)
    assert climbing.update(variance(0.06)) == pytest.approx(2.5 * math.exp(0.1 * 0.5), rel=1e-6)


def test_doubling_compares_with_the_target_of_the_round_that_was_measured():
    controller = doubling()
    controller.begin_round(moments(1.0), target=0.04)
    controller.update(variance(0.05))  # below 1.5 times 0.04
    assert controller.begin_round(moments(1.0), target=0.01) == 1.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "newton"}, "kind is 'newton'.*choose one of ascent, closed_form"),
        ({"eta": 0.0}, "eta is 0; it must be above 0"),
        ({"eta": 2.0}, "eta is 2; it must be at most 1"),
        ({"lower": 0.0}, "lower is 0; it must be above 0"),
        ({"upper": 0.01}, "upper = 0.01 is below lower = 0.02"),
        ({"kind": "fixed"}, "kind = fixed needs dual.value"),
        ({"value": -1.0}, "value is -1; it must be at least 0"),
        ({"value": float("nan")}, "value is nan"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        DualOptions(**options)
