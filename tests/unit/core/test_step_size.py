"""The step size follows V_d, and finds one rate from wherever it starts."""

import math

import pytest
import torch

from r2vpo.core.options import StepControlOptions
from r2vpo.core.ratios import logit_movement
from r2vpo.core.step_size import StepSizeController
from r2vpo.core.types import MovementSums
from tests.unit.core.step_rounds import DELTA, Round, moved


def test_the_scale_brings_a_whole_round_to_its_target():
    rounds = Round(memory=0.0)
    assert rounds.whole(0.04) == pytest.approx(1.0, rel=1e-6)
    assert rounds.whole(0.16) == pytest.approx(0.5, rel=1e-6)  # sqrt(1 / 4)
    assert rounds.whole(0.03) == pytest.approx(0.5 * (4 / 3) ** 0.5, rel=1e-6)
    before = rounds.controller.scale
    assert rounds.whole(0.0001) == pytest.approx(before * 2)  # 20, at most 2
    assert rounds.whole(0.0) == pytest.approx(before * 4)


def test_curvature_is_the_movement_over_the_square_of_the_distance():
    # A quarter of the way at a 16th of the movement, half of it at a quarter, three quarters at 9 / 16: as it should.
    rounds = Round(steps=4)
    for measured in (0.04 / 16, 0.04 / 4, 0.04 * 9 / 16, 0.04):
        assert rounds.step().measure(measured) == pytest.approx(1.0, rel=1e-6)
    # Twice that: the whole round would move twice as far as it may.
    assert Round(steps=4).step().measure(0.04 / 8) == pytest.approx(0.5**0.5, rel=1e-6)


def test_distance_is_counted_in_the_factors_that_the_steps_had():
    rounds = Round(steps=4)
    rounds.step()
    rounds.controller.scale = 0.5
    # One step of 1 and one of 0.5 are a distance of 1.5; at this movement the round should go 2, in 4 steps of 0.5.
    assert rounds.step().measure(0.04 * (1.5 / 2) ** 2) == pytest.approx(0.5, rel=1e-6)


def test_a_schedule_shapes_the_rate_and_is_not_undone():
    rounds = Round(memory=0.0)
    for group in rounds.optimizer.param_groups:
        group["initial_lr"], group["lr"] = 1.0, 0.5
    # Half of the rate goes half as far: a quarter of the movement is what the same scale makes then.
    assert rounds.whole(0.01) == pytest.approx(1.0, rel=1e-6)


def test_a_schedule_that_begins_below_its_highest_rate_is_followed():
    """`OneCycleLR` has its first rate in `initial_lr`, and its highest one in `max_lr`."""
    rounds = Round(memory=0.0)
    for group in rounds.optimizer.param_groups:
        group["initial_lr"], group["max_lr"], group["lr"] = 0.04, 1.0, 0.5
    assert rounds.whole(0.01) == pytest.approx(1.0, rel=1e-6)
    # A schedule that begins at 0, of which nothing else is known.
    rounds = Round(memory=0.0)
    for group in rounds.optimizer.param_groups:
        group["initial_lr"], group["lr"] = 0.0, 0.5
    assert rounds.whole(0.04) == pytest.approx(1.0, rel=1e-6)


def test_rounds_are_averaged_with_fading_weights():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)  # curvature 0.04 per unit, weight 1
    # Now 0.08 with weight 1 against 0.04 with weight 0.5.
    curvature = (0.5 * 0.04 + 0.08) / 1.5
    assert rounds.whole(0.08) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)
    scale = rounds.controller.scale
    # Weights are 0.5 * 1.5 = 0.75 and 1; the latest movement at this scale again says 0.08.
    curvature = (0.75 * curvature + 0.08) / 1.75
    assert rounds.whole(0.08 * scale**2) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)


def test_an_early_measurement_counts_by_the_square_of_its_share_and_a_later_one_replaces_it():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    rounds.controller.begin_round(2, DELTA)
    rounds.controller.scale = 0.5
    # Half of the way, at a curvature of 0.08: weight 1 / 4 against 1 / 2.
    curvature = (0.5 * 0.04 + 0.25 * 0.08) / 0.75
    assert rounds.step().measure(0.08 * 0.5**2) == pytest.approx((0.04 / curvature) ** 0.5 / 2, rel=1e-6)
    second = rounds.controller.scale
    curvature = (0.5 * 0.04 + 0.04) / 1.5
    assert rounds.step().measure(0.04 * (0.5 + second) ** 2) == pytest.approx((0.04 / curvature) ** 0.5 / 2, rel=1e-6)


def test_a_round_counts_by_the_decisions_that_it_was_measured_on():
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    curvature = (0.5 * 10 * 0.04 + 2 * 0.02) / 7
    assert rounds.whole(0.02, decisions=2.0) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)
    before = rounds.controller.scale
    assert rounds.whole(1e-9, decisions=1e-9) == pytest.approx(before, rel=1e-6)


def test_the_target_grows_with_the_informative_rollouts_and_the_scale_follows_at_once():
    rounds = Round(memory=0.5)
    assert rounds.whole(0.04) == pytest.approx(1.0)
    rounds.controller.begin_round(1, 3.0 * DELTA)
    assert rounds.controller.target == pytest.approx(3 * DELTA)
    assert rounds.controller.scale == pytest.approx((math.log1p(3 * DELTA) / 0.04) ** 0.5, rel=1e-6)
    rounds.controller.begin_round(1, 1000.0 * DELTA)
    assert rounds.controller.scale == pytest.approx(2.0)  # at most twice the scale of the last step
    with pytest.raises(ValueError, match="target is 0"):
        rounds.controller.begin_round(1, 0.0)


def test_the_target_is_a_v_d_and_what_is_measured_a_movement():
    """Logits moved by normal amounts of variance s^2 make V_d = exp(s^2) - 1."""
    assert Round(target=math.expm1(1.0)).whole(9.0) == pytest.approx(1 / 3, rel=1e-5)


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
    curvature = 0.64 / 4 / 1.5  # with weight 1, beside 0 with weight 0.5
    assert rounds.whole(0.64) == pytest.approx((0.04 / curvature) ** 0.5, rel=1e-6)


def test_within_a_round_a_step_is_braked_while_the_movement_is_above_four_times_the_targets():
    rounds = Round(steps=4)
    rounds.step().measure(0.16)  # a quarter of the way is four times too far already: an eighth of the scale, no brake
    assert rounds.controller.factor == pytest.approx(0.125, rel=1e-6)
    assert rounds.controller.scale == pytest.approx(0.125, rel=1e-6)
    rounds.measure(0.64)
    assert rounds.controller.scale == pytest.approx(0.0625, rel=1e-6)
    assert rounds.controller.factor == pytest.approx(0.0625 / 4, rel=1e-6)
    before = rounds.optimizer.param_groups[0]["params"][0].item()
    rounds.optimizer.param_groups[0]["params"][0].grad = torch.ones(1)
    rounds.step()
    moved = before - rounds.optimizer.param_groups[0]["params"][0].item()
    assert moved == pytest.approx(0.0625 / 4, rel=1e-5)
    rounds.measure(0.15)
    assert rounds.controller.factor == rounds.controller.scale
    rounds.measure(0.64)
    rounds.controller.begin_round(4, DELTA)
    assert rounds.controller.factor == rounds.controller.scale


def test_rows_that_the_round_has_trained_on_only_brake():
    first = Round(steps=8)
    first.step().measure(0.04 / 64)
    known = first.controller.curvature
    first.step()
    assert first.controller.follow(0.02, 1.0, repeated=True) == pytest.approx(1.0, rel=1e-6)
    assert (first.controller.curvature, first.controller.factor) == (known, first.controller.scale)
    allowed = 4 * math.log1p(first.controller.target)
    first.controller.follow(2 * allowed, 1.0, repeated=True)
    assert first.controller.curvature == known
    assert first.controller.factor == pytest.approx(first.controller.scale / 2, rel=1e-6)


def test_before_a_rounds_first_step_nothing_is_known():
    rounds = Round(steps=2)
    assert rounds.measure(0.0) == rounds.measure(5.0) == 1.0
    rounds.step().controller.begin_round(2, DELTA)
    assert rounds.measure(5.0) == 1.0
    with pytest.raises(ValueError, match="steps is 0"):
        rounds.controller.begin_round(0, DELTA)


def test_a_controller_that_starts_within_a_round_brakes_and_measures_from_the_next_on():
    """V_d there has come from steps that it has not seen: its curvature would be far too large."""
    rounds = Round(scale=0.5, begins=False).step()
    assert rounds.measure(0.08) == 0.5 and rounds.controller.factor == 0.5
    assert rounds.measure(0.32) == 0.5 and rounds.controller.factor == pytest.approx(0.25)
    resumed = Round(scale=0.1, begins=False)
    resumed.controller.load_state_dict(rounds.controller.state_dict())
    for controller in (rounds.controller, resumed.controller):
        controller.update(moved(0.08))
        controller.begin_round(2, DELTA)
        assert controller.factor == 0.5 and controller.state_dict()["weight"] == 0.0
    assert rounds.step().measure(0.01) == pytest.approx(0.5)  # sqrt(0.04 / (0.01 / 0.5^2)) / 2


def test_the_scale_keeps_its_bounds():
    rounds = Round(min_scale=0.1, max_scale=5.0, memory=0.0)
    assert [rounds.whole(0.0) for _ in range(5)][-1] == 5.0
    assert [rounds.whole(100.0) for _ in range(5)][-1] == 0.1


def test_nothing_measured_changes_nothing():
    controller = Round(0.05, steps=3).step().controller
    state = controller.state_dict()
    assert controller.update(MovementSums.zero()) == 0.05
    assert controller.state_dict() == state


@pytest.mark.parametrize("measured", [float("nan"), float("inf")])
def test_a_variance_that_is_not_finite_counts_as_the_largest(measured):
    assert Round().whole(measured) == pytest.approx((0.04 / 40.0) ** 0.5, rel=1e-6)  # ratios are within 20 nats
    rounds = Round(memory=0.5)
    rounds.whole(0.04)
    bounded = rounds.whole(measured)
    assert bounded == pytest.approx((0.04 / ((0.5 * 0.04 + 0.4) / 1.5)) ** 0.5, rel=1e-6)
    assert rounds.controller.factor == 0.0


def test_state_goes_round():
    first, second = Round(steps=5), Round(steps=2)
    for measured in (0.001, 0.001, 0.03):
        first.step().measure(measured)
    first.controller.begin_round(5, DELTA)
    first.step().measure(0.1)
    second.controller.load_state_dict(first.controller.state_dict())
    assert second.controller.state_dict() == first.controller.state_dict()
    for measured in (0.001, 0.2, 0.03):
        assert second.step().measure(measured) == first.step().measure(measured)
        assert second.controller.factor == first.controller.factor
    with pytest.raises(ValueError, match="lacks brake, curvature, distance, measured, stepped, steps, target, weight"):
        second.controller.load_state_dict({"scale": 1.0})


def settle(optimizer, rate, rounds=250):
    """Rounds of one step on a softmax policy. Gives the rate and every V_d."""
    g = torch.Generator().manual_seed(0)
    start = torch.randn(16, generator=g)
    direction = torch.randn(16, generator=g)
    theta = torch.nn.Parameter(start.clone())
    opt = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[optimizer]([theta], lr=rate)
    controller = StepSizeController()
    controller.attach(opt)
    mask = torch.ones(16, 1, dtype=torch.bool)
    old = torch.log_softmax(start, 0)
    measured = []
    for _ in range(rounds):
        controller.begin_round(1, 0.04)
        theta.data.copy_(start)
        theta.grad = -direction
        opt.step()
        log_probs = torch.log_softmax(theta.detach(), 0)
        sums = logit_movement(log_probs[:, None], old[:, None], mask, old.exp()[:, None])
        measured.append(float(sums.value()))
        controller.update(sums)
    return rate * controller.scale, measured


@pytest.mark.parametrize("optimizer", ["sgd", "adam"])
def test_one_rate_is_found_from_far_below_and_far_above(optimizer):
    tuned, measured = settle(optimizer, 0.2)
    assert measured[-1] == pytest.approx(math.log1p(0.04), rel=0.01)
    for factor in (0.05, 20.0):
        found, measured = settle(optimizer, 0.2 * factor)
        assert found == pytest.approx(tuned, rel=0.01)
        assert measured[-1] == pytest.approx(math.log1p(0.04), rel=0.01)


def test_the_first_step_is_a_trial():
    _, measured = settle("adam", 4.0)
    assert measured[0] < 0.1
    free = math.exp(2 * 4.0)  # what a full first step at that rate could have made of a ratio
    assert max(measured) < 0.01 * free


def test_certain_samples_do_not_let_the_step_grow_without_end():
    """As a policy becomes certain V_d may fall at the same step; the scale follows the average, not the latest."""
    rounds = Round(memory=0.95)
    for index in range(40):
        rounds.whole(0.04 * rounds.controller.scale**2 * 0.8**index)
    assert 3 < rounds.controller.scale < 6  # the latest alone would make it 0.8 ** -20 = 87


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"grow": 1.0}, "grow is 1; it must be above 1"),
        ({"memory": 1.0}, "memory is 1; it must be below 1"),
        ({"memory": -0.1}, "memory is -0.1; it must be at least 0"),
        ({"min_scale": 0.0}, "min_scale is 0; it must be above 0"),
        ({"max_scale": 1e-5}, "first_scale = 0.05 is outside min_scale 0.0001 .. max_scale 1e-05"),
        ({"first_scale": 1e5}, "first_scale = 100000 is outside"),
        ({"grow": float("inf")}, "grow is inf; it must be a finite number"),
        ({"grow": "2"}, "grow is '2'; it must be a number"),
        ({"enabled": 1}, "enabled is 1; it must be true or false"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        StepControlOptions(**options)
