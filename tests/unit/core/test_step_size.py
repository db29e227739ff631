"""The step size follows V, on any optimizer and scheduler, and finds one rate from wherever it starts."""

import itertools
import math

import pytest
import torch

from r2vpo.core.ratios import proximal_variance
from r2vpo.core.step_size import StepSizeConfig, StepSizeController
from r2vpo.core.types import RatioVarianceSums

OPTIMIZERS = {
    "sgd": lambda p, lr: torch.optim.SGD(p, lr=lr, momentum=0.9),
    "adam": lambda p, lr: torch.optim.Adam(p, lr=lr),
    "adamw": lambda p, lr: torch.optim.AdamW(p, lr=lr, weight_decay=0.1),
}
SCHEDULERS = {
    "lambda": lambda o: torch.optim.lr_scheduler.LambdaLR(o, lambda step: min(1.0, (step + 1) / 5)),
    # The cosine is computed from the group's current rate: a scale left in it would build up.
    "cosine": lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=20),
}


def variance(value, weight=10.0):
    return RatioVarianceSums(torch.tensor(value * weight), torch.tensor(weight))


class Round:
    """A controller on a real optimizer, in a round of `steps` optimizer steps."""

    def __init__(self, scale=1.0, steps=1, **options):
        self.controller = StepSizeController(StepSizeConfig(first_scale=scale, **options))
        self.optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
        self.controller.attach(self.optimizer)
        self.controller.begin_round(steps)

    def step(self, count=1):
        for _ in range(count):
            self.optimizer.step()
        return self

    def measure(self, value):
        return self.controller.update(variance(value))

    def whole(self, value, signal=1.0):
        """A round of one step, and its V."""
        self.controller.begin_round(1, signal)
        return self.step().measure(value)


def run(optimizer, scheduler, scale, steps=12, scaled_by_hand=False):
    """Parameters after some steps on a quadratic, and every rate that the schedule wrote."""
    parameters = [torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([3.0]))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.03}]
    opt = OPTIMIZERS[optimizer](groups, 0.01)
    if scaled_by_hand:
        for group in opt.param_groups:
            group["lr"] *= scale
    else:
        controller = StepSizeController(StepSizeConfig(first_scale=scale))
        controller.attach(opt)
    schedule = SCHEDULERS[scheduler](opt)
    rates = []
    for _ in range(steps):
        opt.zero_grad()
        sum((p - 0.5).square().sum() for p in parameters).backward()
        opt.step()
        schedule.step()
        rates.append([*schedule.get_last_lr(), *(group["lr"] for group in opt.param_groups)])
    return torch.cat(parameters).detach(), rates


@pytest.mark.parametrize(("optimizer", "scheduler"), itertools.product(OPTIMIZERS, SCHEDULERS))
def test_steps_are_scaled_and_the_schedule_is_not(optimizer, scheduler):
    plain, rates = run(optimizer, scheduler, 1.0)
    scaled, same_rates = run(optimizer, scheduler, 0.3)
    expected, _ = run(optimizer, scheduler, 0.3, scaled_by_hand=True)
    assert rates == same_rates
    torch.testing.assert_close(scaled, expected, rtol=1e-6, atol=1e-7)
    assert not torch.allclose(scaled, plain, rtol=1e-3)


def test_a_changed_scale_acts_at_once():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    controller = StepSizeController(StepSizeConfig(first_scale=0.5))
    controller.attach(optimizer)
    positions = []
    for measured in (0.04, 0.16, 0.04):
        controller.begin_round(1)
        parameter.grad = torch.ones(1)
        optimizer.step()
        positions.append(parameter.item())
        controller.update(variance(measured))
    # Steps of 0.5, 0.5 (V = delta), 0.25 (V = 4 delta).
    assert positions == pytest.approx([-0.5, -1.0, -1.25], rel=1e-5)


def test_a_rate_that_is_a_tensor():
    parameter = torch.nn.Parameter(torch.zeros(1))
    rate = torch.tensor(1.0)
    optimizer = torch.optim.SGD([parameter], lr=rate)
    StepSizeController(StepSizeConfig(first_scale=0.5)).attach(optimizer)
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == -0.5
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 1.0


def test_a_step_that_raised_leaves_no_scale_behind():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    StepSizeController(StepSizeConfig(first_scale=0.5)).attach(optimizer)

    def closure():
        raise RuntimeError("backward failed")

    with pytest.raises(RuntimeError, match="backward failed"):
        optimizer.step(closure)
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == -0.5
    assert optimizer.param_groups[0]["lr"] == 1.0


class Wrapped(torch.optim.Optimizer):
    """As accelerate's: an optimizer that holds the one that steps."""

    def __init__(self, optimizer):
        self.optimizer = optimizer

    def step(self, closure=None):
        return self.optimizer.step(closure)


def test_a_wrapped_optimizer_and_one_attached_twice():
    parameter = torch.nn.Parameter(torch.zeros(1))
    inner = torch.optim.SGD([parameter], lr=1.0)
    controller = StepSizeController(StepSizeConfig(first_scale=0.5))
    controller.attach(Wrapped(inner))
    parameter.grad = torch.ones(1)
    Wrapped(inner).step()
    assert parameter.item() == -0.5
    with pytest.raises(ValueError, match="attached already"):
        controller.attach(inner)


def test_updates_by_hand():
    rounds = Round(gain=1.0)
    assert rounds.whole(0.04) == pytest.approx(1.0, rel=1e-6)
    assert rounds.whole(0.16) == pytest.approx(0.5, rel=1e-6)  # sqrt(1 / 4)
    assert rounds.whole(4.0) == pytest.approx(0.125, rel=1e-6)  # sqrt(1 / 100), at most 0.25
    assert rounds.whole(0.01) == pytest.approx(0.1875, rel=1e-6)  # 2, at most 1.5
    assert rounds.whole(0.0) == pytest.approx(0.1875 * 1.5, rel=1e-6)


def test_one_measurement_counts_by_its_gain_unless_it_is_far_above():
    rounds = Round(gain=0.5)
    assert rounds.whole(0.06) == pytest.approx(1.5**-0.25, rel=1e-6)
    assert Round(gain=0.5).whole(0.0801) == pytest.approx((0.04 / 0.0801) ** 0.5, rel=1e-6)  # above 2 delta
    rounds.controller.scale = 1.0
    assert rounds.whole(0.01) == pytest.approx(2**0.5, rel=1e-6)


def test_an_early_measurement_counts_by_the_square_of_its_share():
    rounds = Round(steps=2, gain=0.4)
    rounds.whole(0.04)  # the slow start is over
    rounds.controller.begin_round(2)
    # V / s^2 is delta / 2 at both steps, so each asks for a factor of sqrt(2): the first with exponent 0.4 / 4.
    assert rounds.step().measure(0.02 / 4) == pytest.approx(2**0.05, rel=1e-6)
    share = (1 + 2**0.05) / (2 * 2**0.05)
    assert rounds.step().measure(0.02 * share**2) == pytest.approx(2**0.05 * 2 ** (0.2 * share**2), rel=1e-6)


def test_growth_is_trusted_as_far_as_rows_carry_a_gradient():
    rounds = Round(gain=1.0)
    rounds.whole(0.04)  # the slow start is over
    assert rounds.whole(0.02, signal=0.25) == pytest.approx(2**0.125, rel=1e-6)
    assert rounds.whole(1e-9, signal=0.0) == pytest.approx(2**0.125, rel=1e-6)
    rounds.controller.scale = 1.0
    assert rounds.whole(0.08, signal=0.0) == pytest.approx(0.5**0.5, rel=1e-6)  # a brake is a brake
    assert Round(0.1).whole(1e-9, signal=0.1) == pytest.approx(0.2)  # nor does the slow start wait
    with pytest.raises(ValueError, match=r"signal is 1\.5"):
        rounds.controller.begin_round(1, 1.5)


def test_slow_start_doubles_until_variance_comes_near_delta():
    rounds = Round(0.1)
    assert rounds.whole(0.001) == pytest.approx(0.2, rel=1e-6)
    assert rounds.whole(0.0) == pytest.approx(0.4, rel=1e-6)
    assert rounds.whole(0.04 / 2.25) == pytest.approx(0.6, rel=1e-5)  # never past sqrt(delta / V)
    assert rounds.whole(0.021) == pytest.approx(0.6 * (0.04 / 0.021) ** 0.15, rel=1e-6)  # it is over
    before = rounds.controller.scale
    assert rounds.whole(1e-9) == pytest.approx(before * 1.5, rel=1e-6)  # for good


def test_variance_is_carried_forward_by_the_square_of_the_distance():
    # A quarter of the way at V = delta / 16, half of it at delta / 4, three quarters at 9 / 16 delta.
    rounds = Round(steps=4, gain=1.0)
    for measured in (0.04 / 16, 0.04 / 4, 0.04 * 9 / 16, 0.04):
        assert rounds.step().measure(measured) == pytest.approx(1.0, rel=1e-6)
    # Slow start ended by V / s^2 = 2 delta: exponent gain / 16, of 1 / sqrt(2).
    assert Round(steps=4, gain=1.0).step().measure(0.04 / 8) == pytest.approx(0.5 ** (0.5 / 16), rel=1e-6)


def test_distance_is_counted_in_the_scales_that_the_steps_had():
    rounds = Round(steps=4, gain=1.0)
    rounds.step()
    rounds.controller.scale = 0.5
    # One step of 1 and one of 0.5 are 1.5 of the 4 x 0.5 = 2 that the round has at this scale.
    assert rounds.step().measure(0.04 * (1.5 / 2) ** 2) == pytest.approx(0.5, rel=1e-6)


def test_before_a_rounds_first_step_nothing_is_known():
    rounds = Round(steps=2, gain=1.0)
    assert rounds.measure(0.0) == rounds.measure(5.0) == 1.0
    rounds.step().controller.begin_round(2)
    assert rounds.measure(5.0) == 1.0
    with pytest.raises(ValueError, match="steps is 0"):
        rounds.controller.begin_round(0)


def test_the_scale_keeps_its_bounds():
    rounds = Round(min_scale=0.1, max_scale=5.0)
    assert [rounds.whole(0.0) for _ in range(5)][-1] == 5.0
    assert [rounds.whole(100.0) for _ in range(5)][-1] == 0.1


def test_nothing_measured_changes_nothing():
    controller = Round(0.05, steps=3).step().controller
    state = controller.state_dict()
    assert controller.update(RatioVarianceSums.zero()) == 0.05
    assert controller.state_dict() == state


@pytest.mark.parametrize("measured", [float("nan"), float("inf")])
def test_a_variance_that_is_not_finite_shrinks_by_the_full_factor(measured):
    rounds = Round()
    assert rounds.whole(measured) == 0.25
    assert rounds.whole(0.0) == pytest.approx(0.25 * 1.5)  # slow start is over


def test_state_goes_round():
    first, second = Round(steps=5), Round(steps=2)
    for measured in (0.001, 0.001, 0.03):
        first.step().measure(measured)
    second.controller.load_state_dict(first.controller.state_dict())
    for measured in (0.001, 0.2, 0.03):
        assert second.step().measure(measured) == first.step().measure(measured)
    with pytest.raises(ValueError, match="lacks distance, signal, slow_start, steps"):
        second.controller.load_state_dict({"scale": 1.0})


def settle(optimizer, rate, rounds=250):
    """Rounds of two steps on a softmax policy; V of the second measures the first. Gives rate and all V."""
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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delta": 0.0}, "delta is 0.0.*greater than 0.*0.04"),
        ({"shrink": 1.0}, "shrink is 1.0.*less than 1"),
        ({"grow": 1.0}, "grow is 1.0.*greater than 1"),
        ({"slow_start_grow": 1.01}, "slow_start_grow is 1.01.*at least 1.5"),
        ({"gain": 0.0}, "gain is 0.0.*greater than 0"),
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
