"""The multiplier and the step size of this worker process.

verl calls a policy loss as a plain function that sees neither the process group nor the end of an optimizer step, so
the state between calls is global to the process, which trains one actor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.method import Method
from r2vpo.integrations.verl.options import method_options


@dataclass
class WorkerState:
    """State that the loss reads and accumulates in.

    Attributes:
        method: loss and options, as the actor's config gives them.
        controls: multiplier and step size.
        measuring: whether micro-batches are being accumulated, which is so only within a training step.
    """

    method: Method
    controls: Controls
    measuring: bool = False


_state: WorkerState | None = None


def start(config: Any, *, reduce: Callable[[Tensor], Tensor]) -> WorkerState:
    """Replace this process's state with a new one.

    Args:
        config: verl's `ActorConfig`.
        reduce: function that sums a tensor over the data-parallel processes.
    """
    global _state
    method = Method(method_options(config))
    # verl gives the number of optimizer steps with each batch; `begin_round` sets it.
    controls = method.controls(steps_per_round=1, reduce=reduce)
    _state = WorkerState(method, controls)
    return _state


def current(config: Any) -> WorkerState:
    """Return this process's state; it is created if the loss is called outside our worker."""
    return _state if _state is not None else start(config, reduce=lambda tensor: tensor)
