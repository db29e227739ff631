"""The step size follows the ratio variance: set delta, not the learning rate."""

import math
from dataclasses import dataclass
from typing import Any

import torch

from r2vpo.core.types import RatioVarianceSums
from r2vpo.core.validation import check_number


@dataclass(frozen=True)
class StepSizeConfig:
    """Options of `StepSizeController`.

    Attributes:
        delta: Target of the ratio variance, dimensionless.
        shrink: Smallest factor of one update, in (0, 1): how far a spike can brake.
        grow: Largest factor of one update, above 1, once V has come near delta.
        slow_start_grow: Largest factor until then, at least `grow`.
        first_scale: The scale of the first step: a small trial, since no V is known that could brake it.
        min_scale: Smallest scale.
        max_scale: Largest scale.

    Raises:
        ValueError: When built with a value out of its bounds.
    """

    delta: float = 0.04
    shrink: float = 0.25
    grow: float = 1.5
    slow_start_grow: float = 2.0
    first_scale: float = 0.05
    min_scale: float = 1e-4
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        check_number("delta", self.delta, above=0, remedy="take the target ratio variance, for example 0.04")
        check_number("shrink", self.shrink, above=0, below=1, remedy="take the smallest factor, for example 0.25")
        check_number("grow", self.grow, above=1, remedy="take the largest factor, for example 1.5")
        remedy = "take a factor no smaller than grow, for example 2"
        check_number("slow_start_grow", self.slow_start_grow, at_least=self.grow, remedy=remedy)
        check_number("min_scale", self.min_scale, above=0, remedy="take a smallest scale, for example 1e-4")
        remedy = "take a largest scale no smaller than min_scale, for example 100"
        check_number("max_scale", self.max_scale, at_least=self.min_scale, remedy=remedy)
        remedy = "take a scale between min_scale and max_scale"
        check_number("first_scale", self.first_scale, at_least=self.min_scale, at_most=self.max_scale, remedy=remedy)


class StepSizeController:
    """Scales the learning rate of a torch optimizer so that the ratio variance stays at delta.

    `scale <- clip(scale * clip(sqrt(delta p / V), shrink, grow), min_scale, max_scale)`, p: the share of the
    round's steps that V has seen. V grows with the square of the step, hence the root. Under Adam a penalty turns
    the direction of the update and not its length, so the brake has to reach the step size. Slow start: until V / p
    first reaches `delta / 2`, the largest factor is `slow_start_grow`.

    The scale is applied inside `optimizer.step()` only, by hooks; between steps every group's `lr` is the
    schedule's own, so any scheduler and any logger sees what it wrote. Weight decay that multiplies lr
    (AdamW) is scaled with it.

    Attributes:
        config: The options.
        scale: The factor of the learning rate now.
    """

    def __init__(self, config: StepSizeConfig | None = None) -> None:
        self.config = StepSizeConfig() if config is None else config
        self.scale: float = self.config.first_scale
        self._slow_start = True
        # Per optimizer: (group, lr of the schedule, scaled lr) while its step runs.
        self._scaled: dict[int, list[tuple[dict[str, Any], Any, Any]]] = {}

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
        optimizer.register_step_pre_hook(self._scale)
        optimizer.register_step_post_hook(self._restore)

    def update(self, sums: RatioVarianceSums, progress: float = 1.0) -> float:
        """Follow one measured V: after each optimizer step but a round's first, whose V is 0 by construction.

        Args:
            sums: V added up over micro-batches and processes. With a denominator of 0 nothing was measured
                and nothing changes; a V that is not finite shrinks the scale by the full factor.
            progress: Share of the round's optimizer steps that V has seen, in (0, 1]. `V / progress` is compared
                with delta: the distance from the round's start grows with the steps, as in a random walk.

        Returns:
            The new scale.

        Raises:
            ValueError: A progress out of its bounds.
        """
        check_number("progress", progress, above=0, at_most=1, remedy="pass steps taken / steps of the round")
        numerator, denominator = sums.to_tensor().tolist()
        if denominator == 0:
            return self.scale
        variance = numerator / denominator / progress
        if not math.isfinite(variance):
            variance = math.inf
        if variance >= self.config.delta / 2:
            self._slow_start = False
        wanted = math.sqrt(self.config.delta / variance) if variance > 0 else math.inf
        largest = self.config.slow_start_grow if self._slow_start else self.config.grow
        factor = min(max(wanted, self.config.shrink), largest)
        self.scale = min(max(self.scale * factor, self.config.min_scale), self.config.max_scale)
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on with the same steps.

        Returns:
            Plain numbers.
        """
        return {"scale": self.scale, "slow_start": self._slow_start}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; options and attached optimizers stay as they are.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A key is missing.
        """
        missing = sorted({"scale", "slow_start"} - state.keys())
        if missing:
            raise ValueError(f"state of the step size lacks {', '.join(missing)}: load what state_dict() gave")
        self.scale = min(max(float(state["scale"]), self.config.min_scale), self.config.max_scale)
        self._slow_start = bool(state["slow_start"])

    def _scale(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # A step that raised never reached the post hook: its groups still hold the scaled rate.
        self._restore(optimizer, args, kwargs)
        for group in optimizer.param_groups:
            scheduled = group["lr"]
            group["lr"] = scheduled * self.scale
            self._scaled[id(optimizer)].append((group, scheduled, group["lr"]))

    def _restore(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        for group, scheduled, scaled in self._scaled[id(optimizer)]:
            # Not if someone else wrote a rate meanwhile: theirs is newer.
            if group["lr"] is scaled:
                group["lr"] = scheduled
        self._scaled[id(optimizer)].clear()
