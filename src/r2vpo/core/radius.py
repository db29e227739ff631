"""The trust radius: how far a round may move the policy, in proportion to what there is to learn it from.

    V_d <= delta n

V_d is the ratio variance per decision, which estimates the mean squared movement of a logit; n is the number of fresh
rollouts whose advantage is not 0. The noise of a gradient that is averaged over n rollouts falls as 1 / n, so the
squared step that it is worth taking grows as n, and ends where nothing is left to learn. docs/objective.md, section 2,
has the derivation, docs/results.md how the number was found.
"""

DELTA = 1 / 64
"""V_d of a round for each informative rollout: 64 of them are worth a mean squared movement of the logits of 1. The one
number, for every task, round size and model."""

MEMORY = 0.7
"""Weight that the count of informative rollouts keeps from one round to the next: small rounds have a few groups, or
none, and what is replayed is of several rounds."""


def informative(before: float | None, now: float) -> float:
    """The running count of informative rollouts.

    Args:
        before: The running count at the round before; None in the first round.
        now: Fresh rollouts of this round whose advantage is not 0, over all processes.

    Returns:
        n, at least 1.
    """
    count = now if before is None else MEMORY * before + (1.0 - MEMORY) * now
    return max(count, 1.0)
