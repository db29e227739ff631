"""The objectives token by token, in float64 scalars; imports nothing of the package.

`bug` breaks one line on purpose: the negative controls show that the comparison notices each of them.
"""

import math

import torch


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


def _surrogate_r2vpo(r, w, a, o, bug):
    penalty = (1.0 if bug == "penalty_unweighted" else w) * (r - 1.0) ** 2
    if bug == "penalty_linear":
        penalty = w * torch.abs(r - 1.0)
    gain = w * r * a
    if bug == "advantage_sign":
        gain = -gain
    if bug == "no_penalty":
        return gain
    if bug == "penalty_sign":
        return gain + o["dual"] * (penalty - o["delta"])
    if bug == "no_delta":
        return gain - o["dual"] * penalty
    if bug == "penalty_halved":
        return gain - o["dual"] * (penalty / 2 - o["delta"])
    return gain - o["dual"] * (penalty - o["delta"])


def _surrogate_clip(r, w, a, o, bug):
    low, high = o["clip_low"], o["clip_high"]
    if bug == "bounds_swapped":
        low, high = high, low
    plain, clipped = r * a, torch.clamp(r, 1 - low, 1 + high) * a
    if bug == "advantage_sign":
        plain, clipped = -plain, -clipped
    if bug == "no_clip":
        clipped = plain
    value = torch.maximum(plain, clipped) if bug == "max_for_min" else torch.minimum(plain, clipped)
    c = o["dual_clip"]
    if c is not None and bug != "no_dual_clip" and (a < 0 or bug == "dual_clip_positive"):
        value = torch.maximum(value, torch.as_tensor(c * a, dtype=torch.float64))
    return w * value


def oracle(name, log_probs, old, advantages, mask, rollout, o, normalizer=None, bug=None):
    """Loss (with gradient), V numerator and denominator; `o` is a dict of all options."""
    surrogate = {"r2vpo": _surrogate_r2vpo, "clip": _surrogate_clip}[name]
    total, responses, tokens = torch.zeros((), dtype=torch.float64), 0, 0
    numerator = denominator = 0.0
    for b in range(mask.shape[0]):
        row_total, length = torch.zeros((), dtype=torch.float64), 0
        for t in range(mask.shape[1]):
            if not mask[b, t]:
                continue
            length += 1

            def unknown(s, b=b):
                return rollout is not None and not math.isfinite(float(rollout[b, s]))

            w = torch.ones((), dtype=torch.float64)
            if o["anchor"] == "behavior" and bug != "anchor_ignored":
                r = torch.exp(_log_ratio(log_probs, rollout, b, mask, o["level"], t, unknown))
            else:
                r = torch.exp(_log_ratio(log_probs, old, b, mask, o["level"], t, lambda s: False))
                if rollout is not None and bug != "no_stale_weight":
                    numerators = log_probs if bug == "weight_of_current" else old
                    w = torch.exp(_log_ratio(numerators.detach(), rollout, b, mask, o["level"], t, unknown))
                    w = w if bug == "no_cap" else torch.clamp(w, max=o["stale_weight_cap"])
            a = advantages[b] if advantages.dim() == 1 else advantages[b, t]
            row_total = row_total + surrogate(r, w, a, o, bug)
            numerator += float(w.detach()) * (float(r.detach()) - 1.0) ** 2
            denominator += float(w.detach())
        if length:
            responses, tokens = responses + 1, tokens + length
            mode = o["aggregation"]
            scale = {"token_mean": 1.0, "sequence_mean": 1.0 / length, "constant": 1.0 / (o["constant"] or 1)}
            total = total + row_total * scale[mode]
    own = tokens if o["aggregation"] == "token_mean" else responses
    if bug == "denominator_is_width":
        own = mask.numel()
    return -total / (own if normalizer is None else normalizer), numerator, denominator
