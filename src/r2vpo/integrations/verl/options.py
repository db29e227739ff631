"""The options of R²VPO as a policy-loss config of verl's."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass
from typing import Any

from verl.workers.config.actor import PolicyLossConfig

from r2vpo.core.method import MethodOptions

LOSS_MODE = "r2vpo"

# verl has these already, under its own names.
_VERLS = {"aggregation": "actor.loss_agg_mode", "aggregation_constant": "actor.loss_scale_factor"}
# verl's loss_agg_mode: our aggregation, and the constant that a response is divided by (None: verl's scale factor).
AGGREGATIONS: dict[str, tuple[str, float | None]] = {
    "token-mean": ("token_mean", None),
    "seq-mean-token-mean": ("sequence_mean", None),
    "seq-mean-token-sum": ("constant", 1.0),
    "seq-mean-token-sum-norm": ("constant", None),
}


def _check(self: Any) -> None:
    for name, theirs in _VERLS.items():
        if getattr(self, name) is not None:
            raise ValueError(f"policy_loss.{name}={getattr(self, name)!r} is not read under verl: set {theirs}")
    MethodOptions.of(self)


PolicyLossOptions = make_dataclass(
    "PolicyLossOptions",
    [(option.name, Any, field(default=option.default)) for option in fields(MethodOptions)],
    bases=(PolicyLossConfig,),
    namespace={
        "__doc__": "verl's `PolicyLossConfig` with the fields of `MethodOptions`, checked when built.",
        "__module__": __name__,
        "__post_init__": _check,
    },
)


def method_options(config: Any) -> MethodOptions:
    """What `policy_loss` of an actor's config asks for.

    Args:
        config: verl's `ActorConfig`. A `policy_loss` without our fields (no `_target_` was given) has the defaults.

    Returns:
        The options, with the aggregation that `loss_agg_mode` names.

    Raises:
        ValueError: An aggregation that R²VPO has not, or options that do not fit each other.
    """
    mode = config.loss_agg_mode
    if mode not in AGGREGATIONS:
        known = ", ".join(AGGREGATIONS)
        raise ValueError(f"actor.loss_agg_mode={mode!r} is none that R²VPO has: choose one of {known}")
    policy_loss = config.policy_loss
    given = {f.name: getattr(policy_loss, f.name) for f in fields(MethodOptions) if hasattr(policy_loss, f.name)}
    if given.get("objective_options") is not None:
        given["objective_options"] = dict(given["objective_options"])
    aggregation, constant = AGGREGATIONS[mode]
    if aggregation == "constant" and constant is None:
        constant = config.loss_scale_factor
        if constant is None:
            raise ValueError(
                "actor.loss_scale_factor is unset, and a batch's own width depends on its longest response: "
                "set it to data.max_response_length"
            )
    return MethodOptions(**given | {"aggregation": aggregation, "aggregation_constant": constant})
