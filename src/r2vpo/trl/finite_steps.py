"""Optimizer steps without a finite gradient: they are skipped and counted, and a run of nothing else ends."""

from __future__ import annotations

import math
from typing import Any

from transformers import Trainer

from r2vpo.trl.watch import RunWatch


class FiniteSteps(Trainer):
    """A trainer that skips optimizer steps whose gradient is not finite.

    A subclass creates the attributes.

    Attributes:
        counters: Counts the skipped steps in `non_finite_steps`.
        watch: Ends a run that skips too many of them.
    """

    counters: dict[str, int]
    watch: RunWatch

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        norm = super()._get_grad_norm(model, grad_norm=grad_norm)
        finite = self._finish_gradients(norm)
        if not finite:
            # Every process has the same reduced gradient, so all of them skip the step together.
            self._drop_gradients(model)
            self.counters["non_finite_steps"] += 1
        self.watch.step(finite=finite)
        return norm

    def _finish_gradients(self, norm: Any) -> bool:
        """Finish the gradients of all weights, given the norm of the model's, and tell whether they are finite."""
        return norm is None or math.isfinite(float(norm))

    def _drop_gradients(self, model: Any) -> None:
        for parameter in model.parameters():
            parameter.grad = None

    def train(self, *args: Any, **kwargs: Any) -> Any:
        """Train as the trainer does.

        Raises:
            UserError: `RunWatch` ends the run: it skipped every step, or too many in a row.
        """
        result = super().train(*args, **kwargs)
        self.watch.end()
        return result
