"""One optimizer step of a DeepSpeed engine, by what the engine offers: nothing of DeepSpeed is imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from r2vpo.core.rate_hooks import ScaledSteps
from r2vpo.errors import UserError


def engine_step(engine: Any, run: Callable[[], Any], step_size: ScaledSteps | None) -> bool:
    """Step an engine once: scaled by the step size, counted once, and not at all with a gradient that is not finite.

    In most stages and precisions DeepSpeed looks for such gradients too late or never. Here it is told before its step,
    and leaves weights and moments as they are.

    Args:
        engine: At a boundary of gradient accumulation.
        run: Makes the step.
        step_size: Scales it; None leaves the learning rate alone.

    Returns:
        Whether the step moved the weights.
    """
    optimizer = engine.optimizer
    if hasattr(optimizer, "check_overflow"):
        # Its step reads what this finds, also where it would not have looked.
        optimizer.check_overflow()
    elif isinstance(optimizer, torch.optim.Optimizer) and not _finite(optimizer):
        optimizer.zero_grad()
        return False

    def applied() -> bool:
        return bool(engine.was_step_applied())

    if step_size is None:
        run()
    else:
        with step_size.scaled(optimizer.param_groups, applied):
            run()
    return applied()


def check_engine(engine: Any) -> None:
    """Refuse an engine that cannot leave a step out.

    Raises:
        UserError: Its optimizer has no such step.
    """
    if not (hasattr(engine.optimizer, "overflow") or isinstance(engine.optimizer, torch.optim.Optimizer)):
        raise UserError(
            f"DeepSpeed's {type(engine.optimizer).__name__} cannot leave out a step whose gradient is not finite: set "
            "zero_stage to 2 or 3 in the launcher's configuration"
        )


def _finite(optimizer: torch.optim.Optimizer) -> bool:
    """Whether all gradients are, which are reduced already and so the same on all processes (ZeRO-0)."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)
