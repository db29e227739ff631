"""Compare two models on the same prompts: win rate, its interval, and the sign test.

The sign test is one line, which does not justify a dependency on scipy.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from math import comb
from typing import Any, Literal

from r2vpo.intervals import Interval, mean_interval

Outcome = Literal["win", "tie", "loss"]
POINTS: dict[Outcome, float] = {"win": 1.0, "tie": 0.5, "loss": 0.0}


@dataclass(frozen=True)
class Preference:
    """Result of one model against another, prompt by prompt.

    Attributes:
        win_rate: (wins + ties / 2) / prompts, with its 95 % interval over prompts.
        wins: number of prompts on which it does better.
        ties: number of prompts without a difference.
        losses: number of prompts on which it does worse.
        p_value: p-value of the two-sided sign test.
    """

    win_rate: Interval
    wins: int
    ties: int
    losses: int
    p_value: float

    def to_json(self) -> dict[str, Any]:
        """Return the preference as a JSON object."""
        return asdict(self)


def preference(outcomes: Sequence[Outcome]) -> Preference:
    """Count wins, ties and losses.

    Args:
        outcomes: one per prompt, at least one.

    Returns:
        Win rate, counts and sign test.
    """
    wins, losses = outcomes.count("win"), outcomes.count("loss")
    return Preference(
        win_rate=mean_interval([POINTS[outcome] for outcome in outcomes]),
        wins=wins,
        ties=len(outcomes) - wins - losses,
        losses=losses,
        p_value=sign_test(wins, losses),
    )


def outcomes_by_score(ours: Sequence[float], theirs: Sequence[float], tolerance: float = 1e-9) -> list[Outcome]:
    """Turn two scores per prompt into outcomes.

    Args:
        ours: one score per prompt.
        theirs: the scores of the other model on the same prompts.
        tolerance: scores that differ by no more than this are a tie.
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    return ["tie" if abs(gap) <= tolerance else "win" if gap > 0 else "loss" for gap in differences]


def sign_test(wins: int, losses: int) -> float:
    """Return the p-value of the exact two-sided sign test.

    `min(1, 2 P(X <= min(wins, losses)))`, X binomial with n = wins + losses and probability 1/2; ties are left out.
    Without wins and losses it is 1.

    Args:
        wins: number of prompts won.
        losses: number of prompts lost.
    """
    n = wins + losses
    # Integers until the division: 2^n exceeds a float from n = 1024 on, but the quotient does not.
    return min(1.0, 2 * sum(comb(n, i) for i in range(min(wins, losses) + 1)) / (1 << n))
