"""Scaling of the learning rate inside an optimizer's step, and the distance that a round's steps have covered."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class ScaledSteps(ABC):
    """Base class of step-size controllers; a subclass decides the factor.

    The factor is applied only inside `optimizer.step()`, by hooks (`attach`), or around an engine's step (`scaled`).
    Between steps every group's `lr` is the schedule's own, so schedulers and loggers see the value that the scheduler
    wrote. Weight decay that is multiplied by lr (AdamW) is scaled with it.

    A group with ``"step_control": False``, such as that of a critic, keeps the schedule's rate.

    The distance is the sum of the factors of the steps since the round's start, each multiplied by the step's `lr`
    over the highest rate of its schedule; a subclass resets it to 0 when a round begins. The highest rate is the
    group's `initial_lr`, or its `max_lr`, as torch's OneCycleLR has it; without either, `lr` itself.
    """

    def __init__(self) -> None:
        self._distance = 0.0
        # The scaled groups of each optimizer while its step runs.
        self._scaled: dict[int, list[_ScaledGroup]] = {}

    @property
    @abstractmethod
    def factor(self) -> float:
        """Factor by which the next step's learning rate is multiplied."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Scale all further steps of this optimizer.

        Args:
            optimizer: Any torch optimizer, or a wrapper that holds one as `.optimizer` (accelerate's).

        Raises:
            ValueError: It is already attached, so its steps would be scaled twice.
        """
        optimizer = _innermost(optimizer)
        if self.scales(optimizer):
            raise ValueError(
                "optimizer is already attached, and must be attached only once: call attach once for each optimizer"
            )
        self._scaled[id(optimizer)] = []
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    def scales(self, optimizer: torch.optim.Optimizer) -> bool:
        """Tell whether an optimizer, or the one that it wraps, is attached."""
        return id(_innermost(optimizer)) in self._scaled

    @contextmanager
    def scaled(self, groups: list[dict[str, Any]], applied: Callable[[], bool]) -> Iterator[None]:
        """Scale one step of an engine with an inner optimizer whose hooks would run several times per step.

        DeepSpeed, for example, steps its inner optimizer once per parameter group.

        Args:
            groups: The engine's parameter groups, whose `lr` is scaled until the block ends.
            applied: Called after the step; returns whether it moved the weights. If not, the step adds no distance.
        """
        length, scaled = self._length(groups), self._scale(groups)
        try:
            yield
        finally:
            _restore(scaled)
        if applied():
            self._distance += length

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # A step that raised never reached the post hook, so its groups still hold the scaled rate.
        _restore(self._scaled[id(optimizer)])
        self._scaled[id(optimizer)] = self._scale(optimizer.param_groups)

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        _restore(self._scaled[id(optimizer)])
        self._scaled[id(optimizer)] = []
        # A step without a gradient (a gradient that is not finite is dropped) moved nothing.
        scaled = filter(_is_scaled, optimizer.param_groups)
        if any(parameter.grad is not None for group in scaled for parameter in group["params"]):
            self._distance += self._length(optimizer.param_groups)

    def _length(self, groups: list[dict[str, Any]]) -> float:
        """Compute what one step adds to the distance."""
        first = next(group for group in groups if _is_scaled(group))
        rate = float(first["lr"])
        highest = max(float(first.get(name, 0.0)) for name in ("initial_lr", "max_lr")) or rate
        return self.factor * rate / highest if highest else 0.0

    def _scale(self, groups: list[dict[str, Any]]) -> list[_ScaledGroup]:
        scaled = []
        for group in filter(_is_scaled, groups):
            scheduled = group["lr"]
            group["lr"] = scheduled * self.factor
            scaled.append(_ScaledGroup(group, scheduled, group["lr"]))
        return scaled


class _ScaledGroup(NamedTuple):
    group: dict[str, Any]
    scheduled: Any
    scaled: Any


def _is_scaled(group: dict[str, Any]) -> bool:
    return bool(group.get("step_control", True))


def _innermost(optimizer: torch.optim.Optimizer) -> torch.optim.Optimizer:
    while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
        optimizer = optimizer.optimizer  # type: ignore[attr-defined]
    return optimizer


def _restore(groups: list[_ScaledGroup]) -> None:
    for group, scheduled, scaled in groups:
        # Not if other code has written a rate in the meantime: that value is newer.
        if group["lr"] is scaled:
            group["lr"] = scheduled
