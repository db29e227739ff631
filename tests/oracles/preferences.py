"""Preference losses of pairs and their braked gradients, token by token, in scalars of float64."""

import math

BOUND = 20.0


def score(link, log_ratio):
    """phi(z) of the whole response, and z phi'(z), its derivative by log z."""
    z = math.exp(log_ratio)
    return {
        "kl": (log_ratio, 1.0),
        "chi_square": (z - 1.0, z),
        "chi_po": (z + log_ratio, z + 1.0),
    }[link]


def advantages(link, pairs, beta, reward_bound, bug=None):
    """A of the tokens of each pair's two sides, and the mean loss, by hand.

    `pairs` has for each pair the log-ratios (chosen, rejected) of whole responses to the reference.
    """
    found, losses = [], []
    for chosen, rejected in pairs:
        (phi_w, slope_w), (phi_l, slope_l) = score(link, chosen), score(link, rejected)
        margin = beta * (phi_w - phi_l)
        inside = True
        if link == "chi_po" and bug != "margin not clipped":
            inside = abs(margin) <= 2 * reward_bound
            margin = max(-2 * reward_bound, min(2 * reward_bound, margin))
        losses.append(math.log1p(math.exp(-margin)))
        pull = beta / (1 + math.exp(margin)) if inside else 0.0
        if bug == "slope of the link left out":
            slope_w = slope_l = 1.0
        if bug == "slope of the other side":
            slope_w, slope_l = slope_l, slope_w
        rejects = 1.0 if bug == "rejected raised" else -1.0
        found.append((pull * slope_w, rejects * pull * slope_l))
    return found, sum(losses) / len(losses)


def effective(A, log_ratio, dual, brake, bug=None):
    """What is left of the advantage of one token."""
    x = max(-BOUND, min(BOUND, log_ratio))
    r_minus_1 = math.expm1(x)
    if bug == "log in place of the ratio":
        r_minus_1 = x
    double = 1.0 if bug == "half the brake" else 2.0
    if brake == "two_sided":
        return A - double * dual * r_minus_1
    if A == 0:
        return 0.0
    share = 1.0 - double * dual * r_minus_1 / (abs(A) if bug == "the sign of A ignored" else A)
    if bug == "brakes both ways":
        share = 1.0 - double * dual * abs(r_minus_1 / A)
    return A * (share if bug == "drawn back beyond r*" else max(0.0, min(1.0, share)))


def lagrangian(A, log_ratio, dual, brake):
    """The function of log r whose derivative is the effective advantage, A being fixed."""
    if brake == "two_sided":
        return A * log_ratio - 2 * dual * (math.exp(log_ratio) - 1 - log_ratio)
    if A == 0:
        return 0.0
    outward = log_ratio * A > 0
    if not outward:
        return A * log_ratio
    furthest = 1 + A / (2 * dual)
    bound = math.log(furthest) if furthest > 0 else -math.inf
    x = min(log_ratio, bound) if A > 0 else max(log_ratio, bound)
    return A * x - 2 * dual * (math.exp(x) - 1 - x)


def gradient(link, b, *, beta, reward_bound, dual, brake, bug=None):
    """The gradient of the mean loss of N pairs in log pi of each token, braked: a list of rows, and the loss.

    `b` is a mapping of nested lists: log_probs, old_log_probs (2 N rows: the chosen ones first), mask, reference (one
    number for each row).
    """
    rows, count = len(b["log_probs"]), len(b["log_probs"]) // 2
    whole = [
        sum(value for value, kept in zip(b["log_probs"][i], b["mask"][i], strict=True) if kept) - b["reference"][i]
        for i in range(rows)
    ]
    asked, loss = advantages(link, [(whole[i], whole[i + count]) for i in range(count)], beta, reward_bound, bug)
    share = 1.0 if bug == "not a mean" else 1.0 / count
    found = []
    for i in range(rows):
        A = asked[i % count][i // count]
        row = []
        for now, before, kept in zip(b["log_probs"][i], b["old_log_probs"][i], b["mask"][i], strict=True):
            weighed = A / count if bug == "A of the mean" else A
            left = effective(weighed, now - before, dual, brake, bug)
            row.append(-share * (left * count if bug == "A of the mean" else left) if kept else 0.0)
        found.append(row)
    return found, loss
