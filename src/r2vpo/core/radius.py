"""The trust radius: how far a round may move the policy, in proportion to what there is to learn.

    V_d <= T = max(delta n, exp(min((gamma / kappa)^2, 3)) - 1)

V_d is the ratio variance per decision, which estimates the mean squared movement of a logit; n is the number of fresh
rollouts whose advantage is not 0. The noise of a gradient that is averaged over n rollouts falls as 1 / n, so the
squared step that it is worth taking grows as n, and ends where nothing is left to learn.

gamma is how well the movement of the last rounds agrees with the advantages of rollouts that they had not trained on
(`r2vpo.core.held_out`). Where what is learned holds for other rollouts as well, as it does in the first rounds, a round
may go further: the movement S that makes `gamma sqrt(S) - kappa S / 2`, the gain per decision less its price, largest
is `(gamma / kappa)^2`. docs/objective.md, section 2, has the derivation, docs/results.md how the numbers were found.
"""

import math

DELTA = 1 / 64
"""V_d of a round for each informative rollout: 64 of them are worth a mean squared movement of the logits of 1. The one
number, for every task, round size and model."""

PRICE = 0.4
"""kappa: the gain, in standard deviations of the advantage, that a round has to bring for its movement."""

FURTHEST = 3.0
"""The largest mean squared movement of a logit that the gain may ask for; V_d is 19 there."""

MEMORY = 0.7
"""Weight that the count of informative rollouts keeps from one round to the next: small rounds have a few groups, or
none, and what is replayed is of several rounds."""


def radius(delta: float, informative: float, alignment: float) -> float:
    """The V_d that a round may come to.

    Args:
        delta: V_d for each informative rollout.
        informative: n, the running count.
        alignment: gamma, see `HeldOutGain`; 0 where it is not known.

    Returns:
        T, above 0.
    """
    asked = min((max(alignment, 0.0) / PRICE) ** 2, FURTHEST)
    return max(delta * informative, math.expm1(asked))


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
