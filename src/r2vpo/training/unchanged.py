"""Check whether training has changed any weight: steps can be too small for the weights' number format."""

from __future__ import annotations

from typing import Any

from torch import Tensor

SAMPLED = 1024
"""Numbers compared per parameter: a step changes all of a matrix or none of it."""


class WeightsBefore:
    """Sample of the trained weights, for a later comparison.

    Args:
        model: the model, complete in this process.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._before = self._sample()

    def changed(self) -> bool:
        """Return whether any number of the sample has changed."""
        return any(bool((one != other).any()) for one, other in zip(self._sample(), self._before, strict=True))

    def _sample(self) -> list[Tensor]:
        trained = (parameter.detach().flatten() for parameter in self._model.parameters() if parameter.requires_grad)
        return [numbers[:: max(1, numbers.numel() // SAMPLED)].clone() for numbers in trained]
