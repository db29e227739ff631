"""What each objective maximises at one token, before weight and penalty; imports nothing of the package.

A token `t` is a dict: `r` and `x` (ratio and log-ratio, with gradient), `w` stale weight, `a` advantage, `q` log-prob
under the anchor, `whole` log of the whole response's ratio, `kept` whether M2PO keeps it; `o` holds the options.
"""

import math

import torch


def _held(value, bug):
    """Without gradient, but for one bug."""
    return value if bug == "weight_has_gradient" else value.detach()


def policy_gradient(t, o, bug):
    return t["r"] * t["a"]


def clip(t, o, bug):
    r, a, low, high = t["r"], t["a"], o["clip_low"], o["clip_high"]
    if bug == "bounds_swapped":
        low, high = high, low
    plain, clipped = r * a, torch.clamp(r, 1 - low, 1 + high) * a
    if bug == "no_clip":
        clipped = plain
    value = torch.maximum(plain, clipped) if bug == "max_for_min" else torch.minimum(plain, clipped)
    c = o["dual_clip"]
    if c is not None and bug != "no_dual_clip" and (a < 0 or bug == "dual_clip_positive"):
        value = torch.maximum(value, torch.as_tensor(c * a, dtype=torch.float64))
    return value


def spo(t, o, bug):
    size = t["a"] if bug == "no_absolute" else abs(t["a"])
    epsilon = o["epsilon"] / 2 if bug == "epsilon_halved" else o["epsilon"]
    return t["r"] * t["a"] - size * (t["r"] - 1) ** 2 / (2 * epsilon)


def cispo(t, o, bug):
    weight = t["r"]
    if bug != "no_upper":
        weight = torch.clamp(weight, max=1 + o["clip_high"])
    if o["clip_low"] is not None and bug != "no_lower":
        weight = torch.clamp(weight, min=1 - o["clip_low"])
    return _held(weight, bug) * t["a"] * t["x"]


def sapo(t, o, bug):
    positive = t["a"] > 0 if bug != "taus_swapped" else t["a"] <= 0
    tau = o["tau_positive"] if positive else o["tau_negative"]
    gate = 1 / (1 + torch.exp(-tau * (t["r"] - 1)))
    return (1.0 if bug == "no_scale" else 4 / tau) * gate * t["a"]


def m2po(t, o, bug):
    return t["r"] * t["a"] if t["kept"] or bug == "no_mask" else 0.0 * t["r"]


def dppo_tv(t, o, bug):
    low, high = o["tv_low"], o["tv_high"]
    if bug == "thresholds_swapped":
        low, high = high, low
    change = float(t["r"].detach()) - 1
    if bug != "ratio_for_probability" and math.isfinite(t["q"]):
        change = math.exp(float(t["x"].detach()) + t["q"]) - math.exp(t["q"])
    out = change > high if t["a"] > 0 else change < -low
    if out and bug != "no_mask":
        return 0.0 * t["r"]
    weight = t["r"] if bug == "no_ratio_cap" else torch.clamp(t["r"], max=o["ratio_cap"])
    return _held(weight, bug) * t["a"] * t["x"]


def vespo(t, o, bug):
    log_whole = t["whole"]
    if bug == "mean_for_whole":
        log_whole = t["x"]
    log_whole = torch.clamp(log_whole, math.log(1e-8), 20.0)
    negative = t["a"] >= 0 if bug == "signs_swapped" else t["a"] < 0
    k = o["k_negative"] if negative else o["k_positive"]
    decay = o["lambda_negative"] if negative else o["lambda_positive"]
    whole = torch.exp(log_whole)
    weight = whole**k * torch.exp(decay * ((0 if bug == "no_normalisation" else 1) - whole))
    return _held(weight, bug) * t["a"] * t["x"]


def topr(t, o, bug):
    log_whole = t["x"] if bug == "token_ratio" else t["whole"]
    weight = torch.exp(torch.clamp(log_whole, -20.0, 20.0))
    if bug != "no_truncation":
        weight = torch.clamp(weight, max=1.0)
    if t["a"] >= 0 and bug != "positives_weighted":
        weight = torch.ones_like(weight)
    return _held(weight, bug) * t["a"] * t["x"]


def p3o(t, o, bug):
    size = 1.0 if bug == "no_size" else t["size"]
    weight = t["r"] if bug == "no_cap_of_size" else torch.clamp(t["r"], max=size)
    if bug == "cap_below":
        weight = torch.clamp(t["r"], min=size)
    divergence = t["r"] - 1 - t["x"] if bug == "reverse_kl" else t["r"] * t["x"] - t["r"] + 1
    share = size if bug == "share_of_size" else 1 - size
    return _held(weight, bug) * t["a"] * t["x"] - share * divergence


SURROGATES = {
    "r2vpo": policy_gradient, "clip": clip, "spo": spo, "cispo": cispo, "gspo": clip, "sapo": sapo, "m2po": m2po,
    "dppo_tv": dppo_tv, "vespo": vespo, "topr": topr, "p3o": p3o, "kl_penalty": policy_gradient,
    "policy_gradient": policy_gradient,
}  # fmt: skip


def size_of_the_batch(tokens, bug=None):
    """P3O's normalised effective sample size of all tokens, put into each of them."""
    w = [1.0 if bug == "size_unweighted" else float(t["w"]) for t in tokens]
    r = [float(t["r"].detach()) for t in tokens]
    once = math.fsum(a * b for a, b in zip(w, r, strict=True))
    twice = math.fsum(a * b * b for a, b in zip(w, r, strict=True))
    for t in tokens:
        t["size"] = once**2 / (math.fsum(w) * twice)


def keep_by_second_moment(tokens, bound, bug=None):
    """M2PO's algorithm 1, as it is written: mark each token's `kept`."""
    for t in tokens:
        t["kept"] = True
        t["m2"] = float(t["x"].detach()) ** 2
    candidates = [t for t in tokens if float(t["a"]) * float(t["x"].detach()) > 0 or bug == "all_tokens"]
    among = len(tokens) if bug == "mean_over_all" else None
    while candidates and math.fsum(t["m2"] for t in candidates) / (among or len(candidates)) > bound:
        pick = min if bug == "smallest_first" else max
        worst = pick(candidates, key=lambda t: t["m2"])
        worst["kept"] = False
        candidates.remove(worst)
