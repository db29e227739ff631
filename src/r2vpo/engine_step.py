"""Make one optimizer step of a DeepSpeed engine through the engine's interface; DeepSpeed is not imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from r2vpo.core.rate_hooks import ScaledSteps
from r2vpo.errors import UserError


def engine_step(engine: Any, run: Callable[[], Any], step_size: ScaledSteps | None) -> bool:
    """Step an engine once, scaled by the step size and counted once; skip the step if the gradient is not finite.

    In most stages and precisions DeepSpeed checks for such gradients too late or never. Here the check is made before
    its step, and weights and moments are left unchanged.

    Args:
        engine: The engine, at a boundary of gradient accumulation.
        run: Function that makes the step.
        step_size: Controller that scales it; None leaves the learning rate unchanged.

    Returns:
        Whether the step changed the weights.
    """
    optimizer = engine.optimizer
    if hasattr(optimizer, "check_overflow"):
        # Its step uses this result, even in configurations where it would not have checked.
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
    """Refuse an engine that cannot skip a step.

    Raises:
        UserError: Its optimizer cannot skip a step.
    """
    if not (hasattr(engine.optimizer, "overflow") or isinstance(engine.optimizer, torch.optim.Optimizer)):
        raise UserError(
            f"DeepSpeed's {type(engine.optimizer).__name__} cannot skip a step with a non-finite gradient: set "
            "zero_stage to 2 or 3 in the launcher's configuration"
        )


def _finite(optimizer: torch.optim.Optimizer) -> bool:
    """Return whether all gradients are finite; they are already reduced, so equal on all processes (ZeRO-0)."""
    gradients = [p.grad for group in optimizer.param_groups for p in group["params"] if p.grad is not None]
    return all(bool(gradient.isfinite().all()) for gradient in gradients)
