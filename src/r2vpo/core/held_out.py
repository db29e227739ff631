"""The gain on held-out rollouts: what a round teaches beyond the rows it has trained on.

Rows of a round's first pass are held out until a step trains on their group. On those rows, the amount by which earlier
steps have raised the log-probabilities of rewarded tokens is an unbiased measure of the direction that the round takes;
on rows that were trained on, it mostly reflects the training itself. Held-out rows need no extra computation.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.radius import PRICE
from r2vpo.core.types import Ratios

MEMORY = 0.8
"""Weight that a round's sums keep from one round to the next; the gain of a single round is mostly noise."""


def held_out_sums(proximal: Ratios, advantages: Tensor, held_out: Tensor | None) -> Tensor:
    """Compute the sums of one micro-batch over the held-out rows with an advantage; they are added, then divided once.

    Args:
        proximal: Ratios per token to the policy at the round's start, see `LossOutput`.
        advantages: A, (B, 1) or (B, T), detached, dimensionless.
        held_out: (B,) bool, rows that no step has trained on yet; None if that is not known, which counts as no rows.

    Returns:
        (4,), detached:

        - gain, `sum(m w A b(r))`, `b(r) = 2 (r - 1) / (r + 1)`, which is close to log r for r near 1 and never above 2;
        - decisions, `sum(m w (1 - p + 0.001))`;
        - moment, `sum(m w (1 - p + 0.001) A^2)`;
        - before, `sum(2 m (w log w - w + 1))`, the movement between the policy that sampled the rows and the one at the
          round's start, from the divergence of the two. It is 0 for rows that the latter sampled.
    """
    if held_out is None:
        return torch.zeros(4, device=advantages.device)
    weight = torch.where(held_out[:, None] & (advantages != 0), proximal.weight(), 0.0)
    decided = weight * proximal.decisions
    # Select rather than multiply by 0: a row that does not count may hold NaN.
    bounded = 2.0 * torch.tanh(proximal.log_ratio.detach() / 2.0)
    gain = torch.where(weight > 0, weight * advantages * bounded, 0.0)
    before = torch.where(weight > 0, 2.0 * (torch.xlogy(weight, weight) - weight + 1.0), 0.0)
    return torch.stack([sums.sum() for sums in (gain, decided, decided * advantages.square(), before)])


@dataclass
class HeldOutGain:
    """The gain on held-out rows relative to the distance of the preceding steps, pooled over rounds.

    Attributes:
        rounds: gain, decisions, moment and movement before the round, of earlier rounds; the latter three are
            multiplied by the distance.
        present: the same for this round.
    """

    rounds: list[float] = field(default_factory=lambda: [0.0] * 4)
    present: list[float] = field(default_factory=lambda: [0.0] * 4)

    def add(self, sums: Sequence[float], distance: float) -> None:
        """Add the sums of one optimizer step.

        Args:
            sums: The four numbers of `held_out_sums` over all processes; sums that are not finite are ignored.
            distance: D, from the round's start to this step.
        """
        if distance > 0 and all(map(math.isfinite, sums)):
            gain, *others = sums
            for place, value in enumerate((gain, *(distance * other for other in others))):
                self.present[place] += value

    def begin_round(self) -> None:
        """Start a round: the present round becomes one of the earlier rounds."""
        self.rounds = [MEMORY * before + now for before, now in zip(self.rounds, self.present, strict=True)]
        self.present = [0.0] * 4

    def alignment(self, curvature: float) -> float:
        """Compute how well the policy's movement agrees with the advantages of rollouts that it was not trained on.

            gamma = sum(gain) / sqrt(C sum(D decisions) sum(D moment)) - kappa sqrt(B)
            B = sum(D before) / sum(D decisions)

        The first term is like the correlation between a token's advantage and the change of its log-probability, per
        decision. D and C are the distance and curvature of `StepSizeController`, so that `C D^2` is the mean square of
        that change, per decision and on other rows. So gamma is not bounded by 1: where all tokens move as their
        advantages ask, it is `1 / sqrt(1 - p)` with the C of the same rows, and any number while C is measured on few
        decisions, as within the first round. `radius` does not distinguish values above `PRICE sqrt(FURTHEST)`.

        B is how far the policy had already moved since it sampled the rows. What the rows say holds near the policy
        that sampled them, so the price is paid for the distance from there (docs/objective.md, section 2).

        Args:
            curvature: C.

        Returns:
            gamma over this round so far and earlier rounds, dimensionless; 0 if nothing is known.
        """
        gain, undecided, moment, before = (old + now for old, now in zip(self.rounds, self.present, strict=True))
        scale = curvature * undecided * moment
        if not scale > 0:
            return 0.0
        return gain / math.sqrt(scale) - PRICE * math.sqrt(max(before, 0.0) / undecided)

    def state_dict(self) -> dict[str, Any]:
        """Return the state as plain numbers."""
        return {"rounds": list(self.rounds), "present": list(self.present)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Resume from the result of `state_dict`."""
        self.rounds, self.present = list(state["rounds"]), list(state["present"])
