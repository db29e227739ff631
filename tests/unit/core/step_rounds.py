"""Rounds of a step-size controller on a real optimizer."""

import torch

from r2vpo.core.step_size import StepSizeConfig, StepSizeController
from r2vpo.core.types import RatioVarianceSums


def variance(value, weight=10.0):
    return RatioVarianceSums(torch.tensor(value * weight), torch.tensor(weight))


class Round:
    """A controller on a real optimizer, in a round of `steps` optimizer steps."""

    def __init__(self, scale=1.0, steps=1, begins=True, **options):
        self.controller = StepSizeController(StepSizeConfig(**{"delta": 0.04, "first_scale": scale} | options))
        parameter = torch.nn.Parameter(torch.zeros(1))
        parameter.grad = torch.ones(1)
        self.optimizer = torch.optim.SGD([parameter], lr=1.0)
        self.controller.attach(self.optimizer)
        if begins:
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
