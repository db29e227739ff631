"""The step size follows V, and finds one rate from wherever it starts."""

import math

import pytest
import torch

from r2vpo.core.ratios import proximal_variance
from r2vpo.core.step_size import StepSizeConfig, StepSizeController
from r2vpo.core.types import RatioVarianceSums
from tests.unit.core.step_rounds import Round, variance


def test_the_scale_brings_a_whole_round_to_delta():
    rounds = Round(memory=0.0)
    assert rounds.whole(0.04) == pytest.approx(1.0, rel=1e-6)
    assert rounds.whole(0.16) == pytest.approx(0.5, rel=1e-6)  # sqrt(1 / 4)
    assert rounds.whole(0.03) == pytest.approx(0.5 * (4 / 3) ** 0.5, rel=1e-6)
    before = rounds.controller.scale
    assert rounds.whole(0.0001) == pytest.approx(before * 2)  # 20, at most 2
    assert rounds.whole(0.0) == pytest.approx(before * 4)


def test_curvature_is_v_over_the_square_of_the_distance():
    # A quarter of the way at V = delta / 16, half of it at delta / 4, three quarters at 9 / 16 delta: all as it should.
    rounds = Round(steps=4)
    for measured in (0.04 / 16, 0.04 / 4, 0.04 * 9 / 16, 0.04):
        assert rounds.step().measure(measured) == pytest.approx(1.0, rel=1e-6)
    # Twice that: the whole round would come to 2 delta.
    assert Round(steps=4).step().measure(0.04 / 8) == pytest.approx(0.5**0.5, rel=1e-6)


def test_distance_is_counted_in_the_factors_that_the_steps_had():
    rounds = Round(steps=4)
    rounds.step()
    rounds.controller.scale = 0.5
    # One step of 1 and one of 0.5 are a distance of 1.5; at this V the round should go 2, in 4 steps of 0.5.
    assert rounds.step().measure(0.04 * (1.5 / 2) ** 2) == pytest.approx(0.5, rel=1e-6)


def test_a_schedule_shapes_the_rate_and_is_not_undone():
    rounds = Round(memory=0.0)
    for group in rounds.optimizer.param_groups:
        group["initial_lr"], group["lr"] = 1.0, 0.5
    # Half of the rate goes half as far: a quarter of delta is what the same scale makes then.
    assert rounds.whole(0.01) == pytest.approx(1.0, rel=1e-6)


def test_rounds_are_averaged_with_fading_weights():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)  # curvature 0.04 per unit, weight 1
    # Now 0.08 with weight 1 against 0.04 with weight 0.5.
    curvature = (0.5 * 0.04 + 0.08) / 1.5
    assert rounds.whole(0.08) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)
    scale = rounds.controller.scale
    # Weights are 0.5 * 1.5 = 0.75 and 1; the latest V at this scale again says 0.08.
    curvature = (0.75 * curvature + 0.08) / 1.75
    assert rounds.whole(0.08 * scale**2) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)


def test_an_early_measurement_counts_by_the_square_of_its_share_and_a_later_one_replaces_it():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    rounds.controller.begin_round(2)
    rounds.controller.scale = 0.5
    # Half of the way, at a curvature of 0.08: weight 1 / 4 against 1 / 2.
    curvature = (0.5 * 0.04 + 0.25 * 0.08) / 0.75
    assert rounds.step().measure(0.08 * 0.5**2) == pytest.approx((0.04 / curvature) ** 0.5 / 2, rel=1e-6)
    second = rounds.controller.scale
    curvature = (0.5 * 0.04 + 0.04) / 1.5
    assert rounds.step().measure(0.04 * (0.5 + second) ** 2) == pytest.approx((0.04 / curvature) ** 0.5 / 2, rel=1e-6)


def test_a_round_counts_as_far_as_its_rows_carry_a_gradient():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    curvature = (0.5 * 0.04 + 0.2 * 0.02) / 0.7
    assert rounds.whole(0.02, signal=0.2) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)
    before = rounds.controller.scale
    assert rounds.whole(1e-9, signal=0.0) == pytest.approx(before, rel=1e-6)
    with pytest.raises(ValueError, match=r"signal is 1\.5"):
        rounds.controller.begin_round(1, 1.5)


def test_one_outlier_is_bounded_by_ten_times_what_is_known():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    curvature = (0.5 * 0.04 + 10 * 0.04) / 1.5
    assert rounds.whole(50.0) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)
    # The first measurement of all knows nothing to be compared with.
    assert Round().whole(0.64) == pytest.approx(0.25, rel=1e-6)


def test_rounds_that_measured_nothing_do_not_hide_the_first_that_does():
    rounds = Round(memory=0.5)
    assert rounds.whole(0.0) == 2.0
    curvature = 0.64 / 4 / 1.5  # V / D^2 with weight 1, beside 0 with weight 0.5
    assert rounds.whole(0.64) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)


def test_within_a_round_a_step_is_braked_while_v_is_above_delta():
    rounds = Round(steps=4)
    rounds.step().measure(0.04)  # a quarter of the way is delta already: a quarter of the scale
    assert rounds.controller.factor == pytest.approx(0.25, rel=1e-6)
    rounds.measure(0.16)
    assert rounds.controller.scale == pytest.approx(0.125, rel=1e-6)
    assert rounds.controller.factor == pytest.approx(0.125 / 4, rel=1e-6)
    before = rounds.optimizer.param_groups[0]["params"][0].item()
    rounds.optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    rounds.step()
    moved = before - rounds.optimizer.param_groups[0]["params"][0].item()
    assert moved == pytest.approx(0.125 / 4, rel=1e-5)
    rounds.measure(0.01)
    assert rounds.controller.factor == rounds.controller.scale
    rounds.measure(0.16)
    rounds.controller.begin_round(4)
    assert rounds.controller.factor == rounds.controller.scale


def test_before_a_rounds_first_step_nothing_is_known():
    rounds = Round(steps=2)
    assert rounds.measure(0.0) == rounds.measure(5.0) == 1.0
    rounds.step().controller.begin_round(2)
    assert rounds.measure(5.0) == 1.0
    with pytest.raises(ValueError, match="steps is 0"):
        rounds.controller.begin_round(0)


def test_a_controller_that_starts_within_a_round_brakes_and_measures_from_the_next_on():
    """V there has come from steps that it has not seen: V / D^2 would be far too large."""
    rounds = Round(scale=0.5, begins=False).step()
    assert rounds.measure(0.02) == 0.5 and rounds.controller.factor == 0.5
    assert rounds.measure(0.08) == 0.5 and rounds.controller.factor == pytest.approx(0.25)
    resumed = Round(scale=0.1, begins=False)
    resumed.controller.load_state_dict(rounds.controller.state_dict())
    for controller in (rounds.controller, resumed.controller):
        controller.update(variance(0.08))
        controller.begin_round(2)
        assert controller.factor == 0.5 and controller.state_dict()["weight"] == 0.0
    assert rounds.step().measure(0.01) == pytest.approx(0.5)  # sqrt(0.04 / (0.01 / 0.5^2)) / 2


def test_the_scale_keeps_its_bounds():
    rounds = Round(min_scale=0.1, max_scale=5.0, memory=0.0)
    assert [rounds.whole(0.0) for _ in range(5)][-1] == 5.0
    assert [rounds.whole(100.0) for _ in range(5)][-1] == 0.1


def test_nothing_measured_changes_nothing():
    controller = Round(0.05, steps=3).step().controller
    state = controller.state_dict()
    assert controller.update(RatioVarianceSums.zero()) == 0.05
    assert controller.state_dict() == state


@pytest.mark.parametrize("measured", [float("nan"), float("inf")])
def test_a_variance_that_is_not_finite_counts_as_the_largest(measured):
    assert Round().whole(measured) == pytest.approx(0.01, rel=1e-6)  # 1 / sqrt(FAR)
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    bounded = rounds.whole(measured)
    assert bounded == pytest.approx((0.04 / ((0.5 * 0.04 + 0.4) / 1.5)) ** 0.5, rel=1e-6)
    assert rounds.controller.factor == 0.0


def test_state_goes_round():
    first, second = Round(steps=5), Round(steps=2)
    for measured in (0.001, 0.001, 0.03):
        first.step().measure(measured)
    first.controller.begin_round(5)
    first.step().measure(0.1)
    second.controller.load_state_dict(first.controller.state_dict())
    assert second.controller.state_dict() == first.controller.state_dict()
    for measured in (0.001, 0.2, 0.03):
        assert second.step().measure(measured) == first.step().measure(measured)
        assert second.controller.factor == first.controller.factor
    with pytest.raises(ValueError, match="lacks brake, curvature, distance, measured, signal, steps, weight"):
        second.controller.load_state_dict({"scale": 1.0})


def settle(optimizer, rate, rounds=250):
    """Rounds of two steps on a softmax policy; V of the second measures the first. Gives rate and all V."""
    g = torch.Generator().manual_seed(0)
    start = torch.randn(16, generator=g)
    direction = torch.randn(16, generator=g)
    theta = torch.nn.Parameter(start.clone())
    opt = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]([theta], lr=rate)
    controller = StepSizeController(StepSizeConfig(delta=0.04))
    controller.attach(opt)
    mask = torch.ones(16, 1, dtype=torch.bool)
    old = torch.log_softmax(start, 0)
    measured = []
    for _ in range(rounds):
        controller.begin_round(1)
        theta.data.copy_(start)
        theta.grad = -direction
        opt.step()
        log_probs = torch.log_softmax(theta.detach(), 0)
        sums = proximal_variance(log_probs[:, None], old[:, None], mask, old.exp()[:, None])
        measured.append(float(sums.value()))
        controller.update(sums)
    return rate * controller.scale, measured


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_rate_is_found_from_far_below_and_far_above(optimizer):
    tuned, measured = settle(optimizer, 0.2)
    assert measured[-1] == pytest.approx(0.04, rel=0.01)
    for factor in (0.05, 20.0):
        found, measured = settle(optimizer, 0.2 * factor)
        assert found == pytest.approx(tuned, rel=0.01)
        assert measured[-1] == pytest.approx(0.04, rel=0.01)


def test_the_first_step_is_a_trial():
    _, measured = settle("adam", 4.0)
    assert measured[0] < 0.1
    free = math.exp(2 * 4.0)  # what a full first step at that rate could have made of a ratio
    assert max(measured) < 0.01 * free


def test_certain_samples_do_not_let_the_step_grow_without_end():
    """As a policy becomes certain V falls at the same step; the scale follows the average, not the latest V."""
    rounds = Round(memory=0.95)
    for index in range(40):
        rounds.whole(0.04 * rounds.controller.scale**2 * 0.8**index)
    assert 3 < rounds.controller.scale < 6  # the latest V alone would make it 0.8 ** -20 = 87


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 0.0}, "delta is 0.0.*greater than 0.*0.1"),
        ({"grow": 1.0}, "grow is 1.0.*greater than 1"),
        ({"memory": 1.0}, "memory is 1.0.*less than 1"),
        ({"memory": -0.1}, "memory is -0.1.*at least 0"),
        ({"min_scale": 0.0}, "min_scale is 0.0.*greater than 0"),
        ({"max_scale": 1e-5}, "max_scale is 1e-05.*at least 0.0001"),
        ({"first_scale": 1000.0}, "first_scale is 1000.0.*at most 100"),
        ({"delta": float("inf")}, "delta is inf.*finite"),
        ({"delta": "0.04"}, "delta is '0.04'.*must be a number"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StepSizeConfig(**options)
