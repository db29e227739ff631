"""The gain on held-out rollouts: what a round teaches beyond the rows it has trained on.

Rows of a round's first pass are held out until a step trains on their group. On those rows, the amount by which earlier
steps have raised the log-probabilities of rewarded tokens is an unbiased measure of the direction that the round takes;
on rows that were trained on, it mostly reflects the training itself. Held-out rows need no extra computation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from r2vpo.core.types import Ratios

MEMORY = 0.8
"""Weight that a round's sums keep from one round to the next; the gain of a single round is mostly noise."""


@dataclass(frozen=True)
class HeldOutSums:
    """Sums over the held-out rows with an advantage; added up, then divided once (`HeldOutGain`).

    Attributes:
        gain: `sum(m w A b(r))`, `b(r) = 2 (r - 1) / (r + 1)`, which is close to log r for r near 1 and never above 2;
            0-d.
        decisions: `sum(m w (1 - p + 0.001))`; 0-d.
        moment: `sum(m w (1 - p + 0.001) A^2)`; 0-d.
    """

    gain: Tensor
    decisions: Tensor
    moment: Tensor

    def __add__(self, other: Self) -> Self:
        return type(self)(self.gain + other.gain, self.decisions + other.decisions, self.moment + other.moment)

    def to_tensor(self) -> Tensor:
        """Stack the sums into a (3,) tensor: gain, decisions, moment."""
        return torch.stack((self.gain, self.decisions, self.moment))


def held_out_sums(proximal: Ratios, advantages: Tensor, held_out: Tensor | None) -> HeldOutSums:
    """Compute the sums of one micro-batch.

    Args:
        proximal: Ratios per token to the policy at the round's start, see `LossOutput`.
        advantages: A, (B, 1) or (B, T), detached, dimensionless.
        held_out: (B,) bool, rows that no step has trained on yet; None if that is not known, which counts as no rows.

    Returns:
        Detached sums.
    """
    if held_out is None:
        zero = torch.zeros((), device=advantages.device)
        return HeldOutSums(zero, zero, zero)
    weight = torch.where(held_out[:, None] & (advantages != 0), proximal.weight(), 0.0)
    decided = weight * proximal.decisions
    # Select rather than multiply by 0: a row that does not count may hold NaN.
    bounded = 2.0 * torch.tanh(proximal.log_ratio.detach() / 2.0)
    gain = torch.where(weight > 0, weight * advantages * bounded, 0.0).sum()
    return HeldOutSums(gain, decided.sum(), (decided * advantages.square()).sum())


@dataclass
class HeldOutGain:
    """The gain on held-out rows relative to the distance of the preceding steps, pooled over rounds.

    Attributes:
        rounds: gain, decisions and moment of earlier rounds, the latter two multiplied by the distance.
        present: the same for this round.
    """

    rounds: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    present: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def add(self, sums: Sequence[float], distance: float) -> None:
        """Add the sums of one optimizer step.

        Args:
            sums: The three numbers of a `HeldOutSums` over all processes; sums that are not finite are ignored.
            distance: D, from the round's start to this step.
        """
        gain, undecided, moment = sums
        if distance > 0 and math.isfinite(gain) and math.isfinite(moment):
            for place, value in enumerate((gain, distance * undecided, distance * moment)):
                self.present[place] += value

    def begin_round(self) -> None:
        """Start a round: the present round becomes one of the earlier rounds."""
        self.rounds = [MEMORY * before + now for before, now in zip(self.rounds, self.present, strict=True)]
        self.present = [0.0, 0.0, 0.0]

    def alignment(self, curvature: float) -> float:
        """Compute how well the policy's movement agrees with the advantages of rollouts that it was not trained on.

            gamma = sum(gain) / sqrt(C sum(D decisions) sum(D moment))

        This is like the correlation between a token's advantage and the change of its log-probability, per decision. D
        and C are the distance and curvature of `StepSizeController`, so that `C D^2` is the mean square of that change,
        per decision and on other rows. So gamma is not bounded by 1: where all tokens move as their advantages ask, it
        is `1 / sqrt(1 - p)` with the C of the same rows, and any number while C is measured on few decisions, as within
        the first round. `radius` does not distinguish values above `PRICE sqrt(FURTHEST)`.

        Args:
            curvature: C.

        Returns:
            gamma over this round so far and earlier rounds, dimensionless; 0 if nothing is known.
        """
        gain, undecided, moment = (before + now for before, now in zip(self.rounds, self.present, strict=True))
        scale = curvature * undecided * moment
        return gain / math.sqrt(scale) if scale > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers."""
        return {"rounds": list(self.rounds), "present": list(self.present)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        self.rounds, self.present = list(state["rounds"]), list(state["present"])
