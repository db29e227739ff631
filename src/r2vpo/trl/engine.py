"""Optimizer steps under DeepSpeed, whose engine makes them within the backward pass."""

from __future__ import annotations

import functools
import math
from typing import Any

from trl import GRPOTrainer

from r2vpo.core.controls import Controls
from r2vpo.engine_step import check_engine, engine_step


class EngineTrainer(GRPOTrainer):
    """A `GRPOTrainer` whose DeepSpeed engine makes one scaled step per optimizer step, and skips non-finite ones.

    A subclass provides the controllers.
    """

    controls: Controls
    _step_left_out = False

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> Any:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_deepspeed_enabled:
            engine: Any = self.model_wrapped  # DeepSpeed has no types here
            check_engine(engine)
            engine.step = functools.partial(self._step_engine, engine, engine.step)
        return prepared

    def _step_engine(self, engine: Any, step: Any, *args: Any, **kwargs: Any) -> None:
        # accelerate calls this after all micro-batches of the step.
        run = functools.partial(step, *args, **kwargs)
        self._step_left_out = not engine_step(engine, run, self.controls.step_size)

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        # The engine would report the norm of the last step that it actually made.
        return math.nan if self._step_left_out else norm
