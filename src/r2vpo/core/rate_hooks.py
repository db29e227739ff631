"""Scaling the learning rate inside an optimizer's step, and counting how far the steps of a round have gone."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch


class ScaledSteps(ABC):
    """What a controller of the step size acts with: a subclass decides the factor.

    The factor is applied inside `optimizer.step()` only, by hooks (`attach`), or around an engine's step (`scaled`);
    between steps every group's `lr` is the schedule's own, so any scheduler and any logger sees what it wrote. Weight
    decay that multiplies lr (AdamW) is scaled with it.

    The distance is the sum of the factors that the steps since the round's start had, each in proportion to its
    `lr / initial_lr`; a subclass sets it back to 0 where a round begins.
    """

    def __init__(self) -> None:
        self._distance = 0.0
        # Per optimizer, while its step runs.
        self._scaled: dict[int, list[_ScaledGroup]] = {}

    @property
    @abstractmethod
    def factor(self) -> float:
        """What the next step's learning rate is multiplied by."""

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Scale this optimizer's steps from now on.

        Args:
            optimizer: Any torch optimizer, or a wrapper that holds one as `.optimizer` (accelerate's).

        Raises:
            ValueError: It is attached already: its steps would be scaled twice.
        """
        while isinstance(getattr(optimizer, "optimizer", None), torch.optim.Optimizer):
            optimizer = optimizer.optimizer  # type: ignore[attr-defined]
        if id(optimizer) in self._scaled:
            raise ValueError("optimizer is attached already, and must be once: call attach once for each optimizer")
        self._scaled[id(optimizer)] = []
        optimizer.register_step_pre_hook(self._before)
        optimizer.register_step_post_hook(self._after)

    @contextmanager
    def scaled(self, groups: list[dict[str, Any]], applied: Callable[[], bool]) -> Iterator[None]:
        """Scale one step of an engine that has an optimizer within: for those whose hooks would count several.

        DeepSpeed, for one, steps its inner optimizer once for each parameter group.

        Args:
            groups: The engine's parameter groups, whose `lr` is scaled until the block ends.
            applied: Called when the step is over: whether it moved the weights. If not, it has no distance.
        """
        length, scaled = self._length(groups), self._scale(groups)
        try:
            yield
        finally:
            _restore(scaled)
        if applied():
            self._distance += length

    def _before(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # A step that raised never reached the post hook: its groups still hold the scaled rate.
        _restore(self._scaled[id(optimizer)])
        self._scaled[id(optimizer)] = self._scale(optimizer.param_groups)

    def _after(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        _restore(self._scaled[id(optimizer)])
        self._scaled[id(optimizer)] = []
        # A step without a gradient (one that was not finite was dropped) moved nothing.
        if any(parameter.grad is not None for group in optimizer.param_groups for parameter in group["params"]):
            self._distance += self._length(optimizer.param_groups)

    def _length(self, groups: list[dict[str, Any]]) -> float:
        """What one step adds to the distance."""
        first = groups[0]
        return self.factor * float(first["lr"]) / (float(first.get("initial_lr", first["lr"])) or 1.0)

    def _scale(self, groups: list[dict[str, Any]]) -> list[_ScaledGroup]:
        scaled = []
        for group in groups:
            scheduled = group["lr"]
            group["lr"] = scheduled * self.factor
            scaled.append(_ScaledGroup(group, scheduled, group["lr"]))
        return scaled


class _ScaledGroup(NamedTuple):
    group: dict[str, Any]
    scheduled: Any
    scaled: Any


def _restore(groups: list[_ScaledGroup]) -> None:
    for group, scheduled, scaled in groups:
        # Not if someone else wrote a rate meanwhile: theirs is newer.
        if group["lr"] is scaled:
            group["lr"] = scheduled
