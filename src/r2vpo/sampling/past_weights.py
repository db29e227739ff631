"""Weights of earlier policy versions, to sample from a policy that is a fixed number of rounds old."""

from __future__ import annotations

from collections import deque
from typing import Any

import torch
from torch import Tensor


class PastWeights:
    """The weights of the last `lag + 1` rounds.

    Keeps one copy of the weights per round: meant for small models, and for experiments on staleness.

    Args:
        lag: Rounds between the policy that samples and the one that is trained, at least 1.
    """

    def __init__(self, lag: int) -> None:
        self._kept: deque[list[Tensor]] = deque(maxlen=lag + 1)

    @torch.no_grad()
    def exchange(self, model: Any) -> None:
        """Keep the model's present weights, and load those of `lag` rounds ago, or the oldest ones so far.

        Args:
            model: A copy of the policy with the present weights; it is written to.
        """
        self._kept.append([parameter.detach().clone() for parameter in model.parameters()])
        for parameter, old in zip(model.parameters(), self._kept[0], strict=True):
            parameter.copy_(old)

    def state_dict(self) -> list[list[Tensor]]:
        """Return the kept weights, oldest first."""
        return [[tensor.cpu() for tensor in weights] for weights in self._kept]

    def load_state_dict(self, state: list[list[Tensor]]) -> None:
        """Resume from a saved state."""
        self._kept.clear()
        self._kept.extend(state)
