"""What a round teaches beyond its own rows: the gain on rollouts that no step has trained on yet.

Rows of a round's first pass are held out until a step trains on their group. So how much the steps before have raised
the log-probabilities of what was rewarded, on those rows, is an unbiased measure of the direction that the round takes;
on rows that were trained on it is mostly what they were trained to. Such rows cost nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any, Self

import torch
from torch import Tensor

from r2vpo.core.masking import token_advantages
from r2vpo.core.ratios import decisions, log_ratio

MEMORY = 0.8
"""Weight that the sums of a round keep from one round to the next: the gain of a single round is mostly noise."""


@dataclass(frozen=True)
class HeldOutSums:
    """Sums over the held-out rows with an advantage; add, and divide once (`HeldOutGain`).

    Attributes:
        gain: `sum(m w A b(r))`, `b(r) = 2 (r - 1) / (r + 1)`, which is log r where r is near 1 and at most 2; 0-d.
        decisions: `sum(m w (1 - p + 0.001))`; 0-d.
        moment: `sum(m w (1 - p + 0.001) A^2)`; 0-d.
    """

    gain: Tensor
    decisions: Tensor
    moment: Tensor

    def __add__(self, other: Self) -> Self:
        return type(self)(self.gain + other.gain, self.decisions + other.decisions, self.moment + other.moment)

    def to_tensor(self) -> Tensor:
        """(3,): gain, decisions, moment."""
        return torch.stack((self.gain, self.decisions, self.moment))


def held_out_sums(
    log_probs: Tensor,
    old_log_probs: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    stale_weight: Tensor,
    held_out: Tensor | None,
) -> HeldOutSums:
    """The sums of one micro-batch.

    Args:
        log_probs: (B, T) nats.
        old_log_probs: (B, T) nats, at the round's start.
        advantages: (B,) or (B, T), dimensionless.
        response_mask: (B, T) bool.
        stale_weight: (B, T), 0 outside the mask.
        held_out: (B,) bool, rows that no step has trained on yet; None where that is not known: there are none.

    Returns:
        Detached sums.
    """
    zero = torch.zeros((), device=log_probs.device)
    if held_out is None:
        return HeldOutSums(zero, zero, zero)
    with torch.no_grad():
        worth = token_advantages(advantages, response_mask)
        weight = torch.where(held_out[:, None] & (worth != 0), stale_weight, 0.0)
        logs = log_ratio(log_probs, old_log_probs, response_mask, response_mask, "token")
        undecided = weight * decisions(old_log_probs, response_mask)
        # Not a product with 0: what stands in a row that does not count may be no number.
        gain = torch.where(weight > 0, weight * worth * 2.0 * torch.tanh(logs / 2.0), 0.0).sum()
        return HeldOutSums(gain, undecided.sum(), (undecided * worth.square()).sum())


@dataclass
class HeldOutGain:
    """The gain on held-out rows for the distance that the steps before them went, pooled over rounds.

    Attributes:
        rounds: gain, decisions and moment of the rounds before, the latter two times the distance.
        present: the same of this round.
    """

    rounds: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])
    present: list[float] = field(default_factory=lambda: [0.0, 0.0, 0.0])

    def add(self, sums: Tensor, distance: float) -> None:
        """Take the sums of one optimizer step.

        Args:
            sums: (3,) of `HeldOutSums`, over all processes; what is not finite is left out.
            distance: D, from the round's start to this step.
        """
        gain, undecided, moment = sums.tolist()
        if distance > 0 and math.isfinite(gain) and math.isfinite(moment):
            for place, value in enumerate((gain, distance * undecided, distance * moment)):
                self.present[place] += value

    def begin_round(self) -> None:
        """End a round: it becomes one of those before."""
        self.rounds = [MEMORY * before + now for before, now in zip(self.rounds, self.present, strict=True)]
        self.present = [0.0, 0.0, 0.0]

    def alignment(self, curvature: float) -> float:
        """How well the policy's movement agrees with the advantages of rollouts that it was not trained on.

            gamma = sum(gain) / sqrt(C sum(D decisions) sum(D moment))

        the correlation of a token's advantage with the change of its log-probability, per decision, D and C being
        distance and curvature of `StepSizeController`, so that `C D^2` is the mean square of that change.

        Args:
            curvature: C.

        Returns:
            gamma, of this round so far and those before, dimensionless; 0 where nothing is known.
        """
        gain, undecided, moment = (before + now for before, now in zip(self.rounds, self.present, strict=True))
        scale = curvature * undecided * moment
        return gain / math.sqrt(scale) if scale > 0 else 0.0

    def state_dict(self) -> dict[str, Any]:
        """Plain numbers."""
        return {"rounds": list(self.rounds), "present": list(self.present)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` gave."""
        self.rounds, self.present = list(state["rounds"]), list(state["present"])
