"""Options under which each objective does something that a comparison can miss; imports nothing of the package."""

DUAL = 1.7
AGGREGATIONS = [("token_mean", None), ("sequence_mean", None), ("constant", 12.0)]

# An objective's own options; narrow enough that its bounds are met by the batches of `batches.py`.
OWN = {
    "r2vpo": {"delta": 0.05, "brake": "outward"},
    "clip": {"clip_low": 0.1, "clip_high": 0.3, "dual_clip": None},
    "spo": {"epsilon": 0.3},
    "cispo": {"clip_low": 0.2, "clip_high": 0.4},
    "gspo": {"clip_low": 0.05, "clip_high": 0.1, "dual_clip": None},
    "sapo": {"tau_positive": 1.3, "tau_negative": 2.7},
    "m2po": {"second_moment": 0.04},
    "dppo_tv": {"tv_low": 0.03, "tv_high": 0.08, "ratio_cap": 1.4},
    "vespo": {"k_positive": 2.1, "lambda_positive": 3.3, "k_negative": 2.9, "lambda_negative": 1.7},
    "topr": {},
    "p3o": {},
    "kl_penalty": {"kl_target": 0.02},
    "policy_gradient": {},
}
LEVELS = {name: ("token", "response") for name in OWN} | {
    "gspo": ("response",), "m2po": ("token",), "dppo_tv": ("token",), "vespo": ("token",), "topr": ("token",),
    "p3o": ("token",),
}  # fmt: skip
# Those whose weight or mask has no gradient: their gradient is not that of their value.
HELD = ("cispo", "m2po", "dppo_tv", "vespo", "topr", "p3o")


def options(name, anchor="proximal", level=None, aggregation="token_mean", constant=None, **more):
    """All options of one case, the oracle's `dual` and `target` included; `ratio_variance_delta` adds the penalty."""
    o = {
        "anchor": anchor, "level": level or LEVELS[name][0], "aggregation": aggregation, "constant": constant,
        "stale_weight_cap": 1.5, "ratio_variance_delta": None, "dual": DUAL, **OWN[name], **more,
    }  # fmt: skip
    target = o.get("delta", o.get("kl_target", o["ratio_variance_delta"]))
    return {**o, "target": target}


def config_of(kind, o):
    """The config of a case, from its class."""
    return kind(**{key: o[key] for key in kind.__dataclass_fields__ if key in o})
