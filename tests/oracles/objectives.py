"""The objectives token by token, in float64 scalars; imports nothing of the package.

`bug` breaks one line on purpose: the negative controls show that the comparison notices each of them.
"""

import math

import torch

from tests.oracles.surrogates import SURROGATES, keep_by_second_moment, size_of_the_batch


def _log_ratio(a, b, row, mask, level, t, counts_as_zero):
    """Log-ratio of token t of a row, or its response's mean; `counts_as_zero(t)` leaves a token out."""
    if level == "token":
        value = torch.zeros((), dtype=torch.float64) if counts_as_zero(t) else a[row, t] - b[row, t]
    else:
        value, count = torch.zeros((), dtype=torch.float64), 0
        for s in range(mask.shape[1]):
            if mask[row, s]:
                count += 1
                if not counts_as_zero(s):
                    value = value + a[row, s] - b[row, s]
        value = value / count
    return torch.clamp(value, -20.0, 20.0)


def _token(log_probs, old, advantages, mask, rollout, o, bug, b, t):
    def unknown(s):
        return rollout is not None and not math.isfinite(float(rollout[b, s]))

    w = torch.ones((), dtype=torch.float64)
    if o["anchor"] == "behavior" and bug != "anchor_ignored":
        x = _log_ratio(log_probs, rollout, b, mask, o["level"], t, unknown)
        q = float(rollout[b, t])
    else:
        x = _log_ratio(log_probs, old, b, mask, o["level"], t, lambda s: False)
        q = float(old[b, t])
        if rollout is not None and bug != "no_stale_weight":
            numerators = log_probs if bug == "weight_of_current" else old
            w = torch.exp(_log_ratio(numerators.detach(), rollout, b, mask, o["level"], t, unknown))
            w = w if bug == "no_cap" else torch.clamp(w, max=o["stale_weight_cap"])
    a = float(advantages[b] if advantages.dim() == 1 else advantages[b, t])
    return {"row": b, "column": t, "x": x, "r": torch.exp(x), "w": w, "a": -a if bug == "advantage_sign" else a, "q": q}


def _penalty(name, t, bug):
    r = t["r"]
    if name == "kl_penalty" and bug != "variance_for_kl":
        return r * t["x"] - (r - 1) if bug == "reverse_kl" else r - 1 - t["x"]
    return torch.abs(r - 1) if bug == "penalty_linear" else (r - 1) ** 2


def _decision(log_prob, length, o, given, bug):
    """How much of a decision a token was: 1 - p under the anchor, and a thousandth; at the level of responses 1 / n.

    A number that is given takes its place, where the anchor is finite.
    """
    p = min(math.exp(log_prob), 1.0) if math.isfinite(log_prob) else 1.0
    many = 1.0 - p + 0.001
    if given is not None and bug != "decisions_ignored":
        many = given if math.isfinite(log_prob) else 0.0
    return many / (length if o["level"] == "response" else 1)


def _outward(t, o, bug):
    """R²VPO's brake on the way from 1 to r*: the largest value that `r A - dual (r - 1)^2` has on it."""
    r, a, dual = t["r"], t["a"], o["dual"]
    best = 1 + a / ((1.0 if bug == "reach_doubled" else 2.0) * dual)
    if bug != "drawn_back_from_beyond" and (r > best if a > 0 else r < best):
        r = r.detach() * 0 + best
    outward = r > 1 if a > 0 else r < 1
    return r * a - (dual * (r - 1) ** 2 if outward or bug == "drawn_back_to_one" else 0.0)


def _objective(name, t, o, bug):
    """A token's part of what is maximised."""
    if o.get("brake") == "outward":
        return t["w"] * _outward(t, o, bug)
    value = t["w"] * SURROGATES[name](t, o, bug)
    if o["target"] is None or bug == "no_penalty":
        return value
    penalty = (1.0 if bug == "penalty_unweighted" else t["w"]) * _penalty(name, t, bug)
    if bug == "penalty_halved":
        penalty = penalty / 2
    return value + (o["dual"] if bug == "penalty_sign" else -o["dual"]) * penalty


def oracle(name, log_probs, old, advantages, mask, rollout, o, normalizer=None, bug=None, decisions=None):
    """Loss (with gradient), numerator and denominator of what is constrained; `o` is a dict of all options.

    `o["target"]` is the target of the penalty, None for none.
    """
    places = [(b, t) for b in range(mask.shape[0]) for t in range(mask.shape[1]) if mask[b, t]]
    tokens = [_token(log_probs, old, advantages, mask, rollout, o, bug, b, t) for b, t in places]
    lengths = {}
    for t in tokens:
        lengths[t["row"]] = lengths.get(t["row"], 0) + 1
        row = [u["x"] for u in tokens if u["row"] == t["row"]]
        t["whole"] = torch.clamp(torch.stack(row).sum(), -20.0, 20.0)
    if name == "m2po":
        keep_by_second_moment(tokens, o["second_moment"], bug)
    if name == "p3o":
        size_of_the_batch(tokens, bug)
    total = torch.zeros((), dtype=torch.float64)
    numerator = denominator = 0.0
    for t in tokens:
        scale = {"token_mean": 1.0, "sequence_mean": 1.0 / lengths[t["row"]], "constant": 1.0 / (o["constant"] or 1)}
        total = total + scale[o["aggregation"]] * _objective(name, t, o, bug)
        numerator += float((t["w"] * _penalty(name, t, None)).detach())
        given = None if decisions is None else float(decisions[t["row"], t["column"]])
        decided = 1.0 if name == "kl_penalty" else _decision(t["q"], lengths[t["row"]], o, given, bug)
        denominator += float(t["w"]) * decided
    own = len(tokens) if o["aggregation"] == "token_mean" else len(lengths)
    if bug == "denominator_is_width":
        own = mask.numel()
    return -total / (own if normalizer is None else normalizer), numerator, denominator
