"""Rounds of a step-size controller on a real optimizer."""

import math

import torch

from r2vpo.core.options import StepControlOptions
from r2vpo.core.step_size import StepSizeController
from r2vpo.core.types import MovementSums

DELTA = math.expm1(0.04)
"""A target at which a round moves logits by a mean square of 0.04."""


def moved(movement, decisions=10.0):
    """A movement of this mean square, measured on so many decisions."""
    return MovementSums(torch.tensor(movement * decisions), torch.tensor(decisions))


class Round:
    """A controller on a real optimizer, in a round of `steps` optimizer steps."""

    def __init__(self, scale=1.0, steps=1, begins=True, target=DELTA, **options):
        self.controller, self.target = StepSizeController(StepControlOptions(first_scale=scale, **options)), target
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.ones(1)
        self.optimizer = torch.optim.SGD([parameter], lr=1.0)
        self.controller.attach(self.optimizer)
        if begins:
            self.controller.begin_round(steps, target)
        else:
            self.controller.aim(target)

    def step(self, count=1):
        for _ in range(count):
            self.optimizer.step()
        return self

    def measure(self, movement, decisions=10.0):
        return self.controller.update(moved(movement, decisions))

    def whole(self, movement, decisions=10.0, rollouts=1.0):
        """A round of one step, and the movement that it makes."""
        self.controller.begin_round(1, rollouts * self.target)
        return self.step().measure(movement, decisions)
