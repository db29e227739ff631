"""The trust radius: how far a round may move the policy, in proportion to how much there is to learn.

    V_d <= T = max(delta n, exp(min((gamma / kappa)^2, 6)) - 1)

V_d is the ratio variance per decision, which estimates the mean squared movement of a logit; n is the number of fresh
rollouts whose advantage is not 0. The noise of a gradient averaged over n rollouts falls as 1 / n, so the squared step
that is worth taking grows as n, and it vanishes where nothing is left to learn.

gamma is how well the movement of the last rounds agrees with the advantages of rollouts that they had not trained on
(`r2vpo.core.held_out`). Where what is learned also holds for other rollouts, as in the first rounds, a round may go
further: the gain per decision less its price, `gamma sqrt(S) - kappa S / 2`, is largest at a movement of `S = (gamma /
kappa)^2`. If an older policy sampled the rows, what has been moved since then counts too. The derivation is in
docs/objective.md, section 2; docs/results.md says how the numbers were found.
"""

import math

DELTA = 1 / 64
"""V_d of a round per informative rollout: 64 of them allow a V_d of 1. The same number serves every task, round size
and model."""

PRICE = 0.28
"""kappa: the gain, in standard deviations of the advantage, that a round's movement has to bring."""

FURTHEST = 6.0
"""The largest mean squared movement of a logit that the gain may allow; V_d is 402 there."""

MEMORY = 0.7
"""Weight that the count of informative rollouts keeps from one round to the next: small rounds have few informative
groups, or none, and replayed rows come from several rounds."""


def radius(delta: float, informative: float, alignment: float) -> float:
    """Compute the V_d that a round may reach.

    Args:
        delta: V_d per informative rollout.
        informative: n, the running count.
        alignment: gamma, see `HeldOutGain`; 0 if it is not known.

    Returns:
        T, above 0.
    """
    asked = min((max(alignment, 0.0) / PRICE) ** 2, FURTHEST)
    return max(delta * informative, math.expm1(asked))


def informative(before: float | None, now: float) -> float:
    """Update the running count of informative rollouts.

    Args:
        before: The running count of the previous round; None in the first round.
        now: Fresh rollouts of this round whose advantage is not 0, over all processes.

    Returns:
        n, at least 1.
    """
    count = now if before is None else MEMORY * before + (1.0 - MEMORY) * now
    return max(count, 1.0)
