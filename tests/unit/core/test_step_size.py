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
    controller = StepSizeController(StepSizeConfig(first_scale=1.0))
    assert controller.update(variance(0.04)) == pytest.approx(1.0, rel=1e-6)
    assert controller.update(variance(0.16)) == pytest.approx(0.5, rel=1e-6)  # sqrt(1 / 4)
    assert controller.update(variance(4.0)) == pytest.approx(0.125, rel=1e-6)  # sqrt(1 / 100), at most 0.25
    assert controller.update(variance(0.01)) == pytest.approx(0.1875, rel=1e-6)  # 2, at most 1.5
    assert controller.update(variance(0.0)) == pytest.approx(0.1875 * 1.5, rel=1e-6)


def test_slow_start_doubles_until_variance_comes_near_delta():
    controller = StepSizeController(StepSizeConfig(first_scale=0.1))
    assert controller.update(variance(0.001)) == pytest.approx(0.2, rel=1e-6)
    assert controller.update(variance(0.0)) == pytest.approx(0.4, rel=1e-6)
    assert controller.update(variance(0.04 / 2.25)) == pytest.approx(0.6, rel=1e-5)  # never past sqrt(delta / V)
    assert controller.update(variance(0.021)) == pytest.approx(0.6 * (0.04 / 0.021) ** 0.5, rel=1e-6)  # it is over
    before = controller.scale
    assert controller.update(variance(0.001)) == pytest.approx(before * 1.5, rel=1e-6)  # for good


def test_variance_is_compared_with_the_part_of_delta_that_the_round_has_come():
    controller = StepSizeController(StepSizeConfig(first_scale=1.0))
    assert controller.update(variance(0.01), 0.25) == pytest.approx(1.0, rel=1e-6)
    assert controller.update(variance(0.02), 0.5) == pytest.approx(1.0, rel=1e-6)
    assert controller.update(variance(0.02), 0.25) == pytest.approx(0.5**0.5, rel=1e-6)
    for progress in (0.0, 1.1):
        with pytest.raises(ValueError, match="progress is"):
            controller.update(variance(0.02), progress)


def test_the_scale_keeps_its_bounds():
    controller = StepSizeController(StepSizeConfig(first_scale=1.0, min_scale=0.1, max_scale=5.0))
    assert [controller.update(variance(0.0)) for _ in range(5)][-1] == 5.0
    assert [controller.update(variance(100.0)) for _ in range(5)][-1] == 0.1


def test_nothing_measured_changes_nothing():
    controller = StepSizeController()
    state = controller.state_dict()
    assert controller.update(RatioVarianceSums.zero()) == StepSizeConfig().first_scale
    assert controller.state_dict() == state


@pytest.mark.parametrize("measured", [float("nan"), float("inf")])
def test_a_variance_that_is_not_finite_shrinks_by_the_full_factor(measured):
    controller = StepSizeController(StepSizeConfig(first_scale=1.0))
    assert controller.update(variance(measured)) == 0.25
    assert controller.update(variance(0.0)) == pytest.approx(0.25 * 1.5)  # slow start is over


def test_state_goes_round():
    first = StepSizeController()
    for measured in (0.001, 0.001, 0.03):
        first.update(variance(measured))
    second = StepSizeController()
    second.load_state_dict(first.state_dict())
    for measured in (0.001, 0.2, 0.03):
        assert second.update(variance(measured)) == first.update(variance(measured))
    with pytest.raises(ValueError, match="lacks slow_start"):
        second.load_state_dict({"scale": 1.0})


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
