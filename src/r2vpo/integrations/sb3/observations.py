"""Observations in batches: a tensor, or a dict of tensors for spaces of several parts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecNormalize
from torch import Tensor

Observations = Tensor | dict[str, Tensor]


def each(change: Callable[..., Any], *observations: Any) -> Any:
    """Apply a function to observations, or to the parts of the same name of those that are dicts."""
    first = observations[0]
    if not isinstance(first, dict):
        return change(*observations)
    return {name: change(*(one[name] for one in observations)) for name in first}


def concatenated(batches: Sequence[Observations]) -> Observations:
    """Concatenate along the first dimension."""
    return cast(Observations, each(lambda *parts: torch.cat(parts), *batches))


def stacked(steps: Sequence[Any], like: Any) -> Observations:
    """Stack observations of numpy's into one tensor.

    Args:
        steps: Observations of the environments, one after each step, at least one.
        like: The buffer's array of observations, (T, E, ...); the result has its shape after the first dimension.
    """

    def stack(shape: Any, *parts: Any) -> Tensor:
        return torch.from_numpy(np.stack([np.reshape(part, shape.shape[1:]) for part in parts]))

    return cast(Observations, each(stack, like, *steps))


def normalized(observations: Observations, normalizer: VecNormalize) -> Observations:
    """Normalise with the present statistics of the environments."""
    arrays = each(Tensor.numpy, observations)
    return cast(Observations, each(torch.from_numpy, normalizer.normalize_obs(arrays)))
