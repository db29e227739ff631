"""A method built from its options: the loss and the controls that drive it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.controls import Controls
from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objectives import Loss, ObjectiveConfig, find_objective, objective_config
from r2vpo.core.options import DualOptions


class Method:
    """A method's loss and its config, for a trainer.

    Args:
        options: Objective, multiplier and step size, in any form that `MethodOptions.of` accepts, such as only the name
            of the objective; None for the defaults.

    Attributes:
        options: The same, as `MethodOptions`.
        loss: The objective's function.
        config: The objective's config, with its own options and the shared ones.

    Raises:
        ValueError: An option is unknown or is rejected, or two contradict each other.
    """

    def __init__(self, options: MethodOptions | Mapping[str, Any] | str | None = None) -> None:
        self.options = MethodOptions.of(options, "")
        self.loss: Loss = find_objective(self.options.objective.name).loss
        self.config: ObjectiveConfig = objective_config(self.options.objective)

    def moves_without_advantage(self) -> bool:
        """Tell whether the loss has a gradient on a row of advantage 0, as with a penalty that draws tokens back.

        The answer comes from evaluating the loss at ratios on both sides of 1.
        """
        log_probs = torch.tensor([[-1.0, -1.2, -0.8]], requires_grad=True)
        base = torch.full((1, 3), -1.0)
        output = self.loss(
            log_probs=log_probs,
            old_log_probs=base,
            rollout_log_probs=base,
            advantages=torch.zeros(1),
            response_mask=torch.ones(1, 3, dtype=torch.bool),
            dual=1.0,
            config=self.config,
        )
        (gradient,) = torch.autograd.grad(output.loss, log_probs, allow_unused=True)
        return gradient is not None and bool(gradient.abs().max() > 0)

    def controls(self, *, steps_per_round: int, reduce: Callable[[Tensor], Tensor]) -> Controls:
        """Build the controls of multiplier and step size; an objective without a multiplier gets a fixed one of 0.

        Args:
            steps_per_round: Optimizer steps from one generation to the next.
            reduce: Sums a tensor over all processes; with one process it returns the tensor.

        Returns:
            The controls. They measure, and multiply no learning rate until `controls.step_size.attach(optimizer)` is
            called; `step_size` is None if step control is off.

        Raises:
            ValueError: There is fewer than 1 step.
        """
        target = self.config.constraint_target
        return Controls(
            dual=DualOptions(kind="fixed", value=0.0) if target is None else self.options.dual,
            step_control=self.options.step_control,
            steps_per_round=steps_per_round,
            reduce=reduce,
            delta=self.options.objective.delta,
            constraint_target=target,
            dual_scales="closed_form" in self.config.dual_kinds,
        )
