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
        gain: Exponent of a correction, in (0, 1]: how much the measurement of a whole round counts. A V above twice
            delta counts in full.
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
    gain: float = 0.3
    first_scale: float = 0.05
    min_scale: float = 1e-4
    max_scale: float = 100.0

    def __post_init__(self) -> None:
        check_number("delta", self.delta, above=0, remedy="take the target ratio variance, for example 0.04")
        check_number("shrink", self.shrink, above=0, below=1, remedy="take the smallest factor, for example 0.25")
        check_number("grow", self.grow, above=1, remedy="take the largest factor, for example 1.5")
        remedy = "take a factor no smaller than grow, for example 2"
        check_number("slow_start_grow", self.slow_start_grow, at_least=self.grow, remedy=remedy)
        check_number("gain", self.gain, above=0, at_most=1, remedy="take an exponent, for example 0.3")
        check_number("min_scale", self.min_scale, above=0, remedy="take a smallest scale, for example 1e-4")
        remedy = "take a largest scale no smaller than min_scale, for example 100"
        check_number("max_scale", self.max_scale, at_least=self.min_scale, remedy=remedy)
        remedy = "take a scale between min_scale and max_scale"
        check_number("first_scale", self.first_scale, at_least=self.min_scale, at_most=self.max_scale, remedy=remedy)


class StepSizeController:
    """Scales the learning rate of a torch optimizer so that the ratio variance of a round comes to delta.

    `scale <- clip(scale * clip((sqrt(delta / V) s)^(gain min(s, 1)^2), shrink, grow), min_scale, max_scale)`, with
    `s = D / (n scale)`, D: the sum of the scales of the round's steps so far, n: its number of steps. V grows with
    the square of the distance from the round's start, so `V / s^2` is what the round will have come to at the
    present scale, and the root is the factor that brings it to delta. The exponent averages over measurements, whose
    tails are heavy, and trusts an early one as much less as what is rounding in V is multiplied by `1 / s^2` too; it
    is 1 in the slow start and for a V above `2 delta`. Growth is trusted in proportion to the share of the round's rows
    that carry a gradient: nearly solved problems leave V small whatever the step, until it is far too large.
    Under Adam a penalty turns the direction of the update and not its length, so the brake has to reach the step
    size. Slow start: until `V / s^2` first reaches `delta / 2`, the largest factor is `slow_start_grow`.

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
        self._distance, self._steps, self._signal = 0.0, 1, 1.0
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

    def begin_round(self, steps: int, signal: float = 1.0) -> None:
        """Start to measure the distance from here: the policy that V is measured against is the present one.

        Args:
            steps: Optimizer steps that the round will have.
            signal: Share of the round's rows whose advantage is not 0, in [0, 1].

        Raises:
            ValueError: Fewer than 1 step, or a share out of its bounds.
        """
        check_number("steps", steps, at_least=1, remedy="pass the optimizer steps from one generation to the next")
        check_number("signal", signal, at_least=0, at_most=1, remedy="pass rows with an advantage / all rows")
        self._distance, self._steps, self._signal = 0.0, steps, signal

    def update(self, sums: RatioVarianceSums) -> float:
        """Follow one measured V.

        Args:
            sums: V against the policy at the round's start, added up over micro-batches and processes. With a
                denominator of 0 nothing was measured, and before a round's first step V is 0 by construction: nothing
                changes. A V that is not finite shrinks the scale by the full factor.

        Returns:
            The new scale.
        """
        numerator, denominator = sums.to_tensor().tolist()
        if denominator == 0 or self._distance == 0:
            return self.scale
        measured = numerator / denominator if math.isfinite(numerator / denominator) else math.inf
        # A scale that was changed within the round has gone another way than n equal steps.
        share = self._distance / (self._steps * self.scale)
        variance = measured / share**2
        if variance >= self.config.delta / 2:
            self._slow_start = False
        wanted = math.sqrt(self.config.delta / variance) if variance > 0 else math.inf
        in_full = self._slow_start or measured > 2 * self.config.delta
        gain = 1.0 if in_full else self.config.gain * min(share, 1.0) ** 2
        if wanted > 1 and not self._slow_start:
            gain *= self._signal
        largest = self.config.slow_start_grow if self._slow_start else self.config.grow
        factor = min(max(wanted**gain, self.config.shrink), largest)
        self.scale = min(max(self.scale * factor, self.config.min_scale), self.config.max_scale)
        return self.scale

    def state_dict(self) -> dict[str, Any]:
        """What a resumed run needs to go on with the same steps.

        Returns:
            Plain numbers.
        """
        return {
            "scale": self.scale,
            "slow_start": self._slow_start,
            "distance": self._distance,
            "steps": self._steps,
            "signal": self._signal,
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved state; options and attached optimizers stay as they are.

        Args:
            state: What `state_dict` gave.

        Raises:
            ValueError: A key is missing.
        """
        missing = sorted(self.state_dict().keys() - state.keys())
        if missing:
            raise ValueError(f"state of the step size lacks {', '.join(missing)}: load what state_dict() gave")
        self.scale = min(max(float(state["scale"]), self.config.min_scale), self.config.max_scale)
        self._slow_start = bool(state["slow_start"])
        self._distance, self._steps = float(state["distance"]), int(state["steps"])
        self._signal = float(state["signal"])

    def _scale(self, optimizer: torch.optim.Optimizer, args: Any, kwargs: Any) -> None:
        # A step that raised never reached the post hook: its groups still hold the scaled rate.
        self._restore(optimizer, args, kwargs)
        self._distance += self.scale
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
