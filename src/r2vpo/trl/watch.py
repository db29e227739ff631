"""End a run when the numbers that it trains on are meaningless."""

from __future__ import annotations

import math

from r2vpo.errors import UserError

NOISE_BOUND = 1e-3
"""Largest allowed mean squared movement of a logit at a round's first optimizer step, where policy and anchor have the
same weights: 0 up to rounding. Even a dropout of 0.05 only in adapters exceeds it."""

NON_FINITE_IN_A_ROW = 20
"""Consecutive skipped steps after which a run ends. Under float16 each one halves the loss scale, from 65,536, so a
dozen are normal."""


class RunWatch:
    """Counter of bad events; raises when there have been too many."""

    def __init__(self) -> None:
        self._steps = self._non_finite = self._in_a_row = 0

    def first_step(self, movement: float) -> None:
        """Check the movement at a round's first optimizer step.

        Args:
            movement: The mean squared movement of a logit since the round's start, dimensionless. No weight has
                changed since. A non-finite value is left to `step`.

        Raises:
            UserError: It is above `NOISE_BOUND`: the log-probabilities are noisy, and step control would read the
                noise as movement.
        """
        if math.isfinite(movement) and movement > NOISE_BOUND:
            raise UserError(
                f"the ratio variance is {movement:.2g} per decision at a round's first optimizer step, before any "
                f"weight has changed, and should be below {NOISE_BOUND:g}: the log-probs of one policy differ from "
                "one forward pass to the next. Likely causes: dropout or router noise that the model turns on by "
                "itself (with gradient checkpointing its layers stay in training mode: try "
                "gradient_checkpointing=False), "
                "nondeterministic kernels (torch.use_deterministic_algorithms(True) finds them), weights "
                "rounded to bfloat16, or a bfloat16 forward that rounds differently with and without gradient "
                "(load the model in float32; bf16=False, in a recipe trainer.bf16_autocast=false)"
            )

    def step(self, *, finite: bool) -> None:
        """Count an optimizer step.

        Args:
            finite: Whether its gradient was finite; a step without a finite gradient is skipped.

        Raises:
            UserError: `NON_FINITE_IN_A_ROW` consecutive steps were skipped.
        """
        self._steps += 1
        self._in_a_row = 0 if finite else self._in_a_row + 1
        self._non_finite += not finite
        if self._in_a_row >= NON_FINITE_IN_A_ROW:
            raise self._nothing_learned(f"the last {self._in_a_row} optimizer steps")

    def end(self) -> None:
        """Check the run as a whole.

        Raises:
            UserError: Every optimizer step was skipped.
        """
        if self._steps and self._non_finite == self._steps:
            raise self._nothing_learned(f"all {self._steps} optimizer steps")

    @staticmethod
    def _nothing_learned(what: str) -> UserError:
        return UserError(
            f"{what} had a non-finite gradient and were skipped, so nothing was learned: the weights have "
            "diverged or the loss is not a number. Resume from an earlier checkpoint with a lower learning rate, or "
            "try bf16=False (in a recipe trainer.learning_rate, trainer.bf16_autocast=false)"
        )
