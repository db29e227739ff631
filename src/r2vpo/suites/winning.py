"""Which of two completions of a prompt is better: by verifiable score, by a reward model, or by a judge."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from r2vpo.errors import UserError
from r2vpo.evaluation import Answered, outcomes_by_score
from r2vpo.evaluation.preference import Outcome


@dataclass(frozen=True)
class Decider:
    """Decides prompt by prompt which of two models has the better greedy completion.

    Attributes:
        name: as it was asked for.
        outcomes: from the answers of both to the same problems to what the first one has of it.
    """

    name: str
    outcomes: Callable[[Sequence[Answered], Sequence[Answered]], list[Outcome]]


def load_decider(name: str) -> Decider:
    """Make what `--win-by` asks for.

    Args:
        name: `score`.

    Raises:
        UserError: there is no such decider.
    """
    if name == "score":
        return Decider(name, _by_score)
    raise UserError(f"--win-by {name}: choose score")


def _by_score(ours: Sequence[Answered], theirs: Sequence[Answered]) -> list[Outcome]:
    return outcomes_by_score([one.greedy.score for one in ours], [one.greedy.score for one in theirs])
