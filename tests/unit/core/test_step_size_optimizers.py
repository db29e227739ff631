"""The step size on any optimizer, scheduler and engine: the step is scaled, and the schedule's rate is left alone."""

import itertools

import pytest
import torch

from r2vpo.core.options import StepControlOptions
from r2vpo.core.step_size import StepSizeController
from tests.unit.core.step_rounds import DELTA, Round, moved

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


def run(optimizer, scheduler, scale, steps=12, scaled_by_hand=False):
    """Parameters after some steps on a quadratic, and every rate that the schedule wrote."""
    parameters = [torch.nn.Parameter(torch.tensor([1.0, -2.0])), torch.nn.Parameter(torch.tensor([3.0]))]
    groups = [{"params": parameters[:1]}, {"params": parameters[1:], "lr": 0.03}]
    opt = OPTIMIZERS[optimizer](groups, 0.01)
    if scaled_by_hand:
        for group in opt.param_groups:
            group["lr"] *= scale
    else:
        controller = StepSizeController(StepControlOptions(first_scale=scale))
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
    controller = StepSizeController(StepControlOptions(first_scale=0.5, memory=0.0))
    controller.attach(optimizer)
    positions = []
    for measured in (0.04, 0.16, 0.04):
        controller.begin_round(1, DELTA)
        parameter.grad = torch.ones(1)
        optimizer.step()
        positions.append(parameter.item())
        controller.update(moved(measured))
    # Steps of 0.5, 0.5 (V = delta), 0.25 (V = 4 delta, and nothing is remembered).
    assert positions == pytest.approx([-0.5, -1.0, -1.25], rel=1e-5)


def test_a_rate_that_is_a_tensor():
    parameter = torch.nn.Parameter(torch.zeros(1))
    rate = torch.tensor(1.0)
    optimizer = torch.optim.SGD([parameter], lr=rate)
    StepSizeController(StepControlOptions(first_scale=0.5)).attach(optimizer)
    parameter.grad = torch.ones(1)
    optimizer.step()
    assert parameter.item() == -0.5
    assert optimizer.param_groups[0]["lr"] is rate and rate.item() == 1.0


def test_a_step_that_raised_leaves_no_scale_behind():
    parameter = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([parameter], lr=1.0)
    StepSizeController(StepControlOptions(first_scale=0.5)).attach(optimizer)

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
    controller = StepSizeController(StepControlOptions(first_scale=0.5))
    controller.attach(Wrapped(inner))
    parameter.grad = torch.ones(1)
    Wrapped(inner).step()
    assert parameter.item() == -0.5
    with pytest.raises(ValueError, match="already attached"):
        controller.attach(inner)


def test_a_step_without_a_gradient_has_no_distance():
    """As after a gradient that was not finite, which the trainer drops before the step."""
    rounds = Round(scale=0.5, steps=2).step()
    (parameter,) = rounds.optimizer.param_groups[0]["params"]
    parameter.grad = None
    assert rounds.step().controller.state_dict()["distance"] == 0.5


@pytest.mark.parametrize(("applied", "distance"), [(True, 0.5), (False, 0.0)])
def test_a_step_of_an_engine_is_counted_once_and_only_if_it_was_applied(applied, distance):
    """The inner optimizer steps once a parameter group, as DeepSpeed's does."""
    parameters = [torch.nn.Parameter(torch.zeros(1)) for _ in range(2)]
    optimizer = torch.optim.SGD([{"params": [parameter]} for parameter in parameters], lr=1.0)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: 1.0)
    groups = optimizer.param_groups
    controller = StepSizeController(StepControlOptions(first_scale=0.5))
    controller.begin_round(2, DELTA)
    with controller.scaled(groups, lambda: applied):
        for parameter, group in zip(parameters, groups, strict=True):
            parameter.grad = torch.ones(1)
            optimizer.param_groups = [group]
            optimizer.step()
    assert [parameter.item() for parameter in parameters] == [-0.5, -0.5]
    assert [group["lr"] for group in groups] == [1.0, 1.0]
    assert controller.state_dict()["distance"] == distance


def test_an_engine_that_raised_leaves_no_scale_behind():
    rounds = Round(scale=0.5)
    groups = rounds.optimizer.param_groups
    with pytest.raises(RuntimeError), rounds.controller.scaled(groups, lambda: True):
        raise RuntimeError("out of memory")
    assert groups[0]["lr"] == 1.0 and rounds.controller.state_dict()["distance"] == 0.0


def test_a_group_without_step_control_keeps_its_rate_and_gives_no_distance():
    ours, other = (torch.nn.Parameter(torch.zeros(1)) for _ in range(2))
    groups = [{"params": [other], "step_control": False, "lr": 0.5}, {"params": [ours]}]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    controller = StepSizeController(StepControlOptions(first_scale=0.25))
    controller.attach(optimizer)
    (ours + other).sum().backward()
    optimizer.step()
    assert (float(ours), float(other)) == (-0.25, -0.5)
    assert controller.distance == 0.25 and [group["lr"] for group in optimizer.param_groups] == [0.5, 1.0]
    ours.grad = None
    optimizer.step()
    assert (float(ours), float(other), controller.distance) == (-0.25, -1.0, 0.25), "only the other one has moved"
