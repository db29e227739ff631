"""The options of R²VPO as a policy-loss config of verl."""

from __future__ import annotations

from dataclasses import field, fields, make_dataclass, replace
from typing import Any

from omegaconf import OmegaConf
from verl.workers.config.actor import PolicyLossConfig

from r2vpo.core.method_options import MethodOptions
from r2vpo.core.objective_config import Aggregation

LOSS_MODE = "r2vpo"

# verl's loss_agg_mode: our aggregation, and the constant that a response is divided by (None: verl's scale factor).
AGGREGATIONS: dict[str, tuple[Aggregation, float | None]] = {
    "token-mean": ("token_mean", None),
    "seq-mean-token-mean": ("sequence_mean", None),
    "seq-mean-token-sum": ("constant", 1.0),
    "seq-mean-token-sum-norm": ("constant", None),
}


def _check(self: Any) -> None:
    options = _sections(self)
    for name, theirs in (("aggregation", "actor.loss_agg_mode"), ("constant", "actor.loss_scale_factor")):
        if getattr(options.objective, name) is not None:
            raise ValueError(f"policy_loss.objective.{name} is not read under verl: set {theirs}")


PolicyLossOptions = make_dataclass(
    "PolicyLossOptions",
    [(option.name, Any, field(default=None)) for option in fields(MethodOptions)],
    bases=(PolicyLossConfig,),
    namespace={
        "__doc__": "verl's `PolicyLossConfig` with the sections of `MethodOptions`, checked when built.",
        "__module__": __name__,
        "__post_init__": _check,
    },
)


def _sections(policy_loss: Any) -> MethodOptions:
    """Return our sections of a `policy_loss`; without our fields (no `_target_` was given) they have the defaults."""
    given = {name: getattr(policy_loss, name, None) for name in (field.name for field in fields(MethodOptions))}
    return MethodOptions.of({name: _plain(value) for name, value in given.items() if value is not None}, "policy_loss")


def _plain(value: Any) -> Any:
    return OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value


def method_options(config: Any) -> MethodOptions:
    """Return the options in the `policy_loss` of an actor's config.

    Args:
        config: verl's `ActorConfig`. A `policy_loss` without our fields (no `_target_` was given) has the defaults.

    Returns:
        The options, with the aggregation that `loss_agg_mode` names.

    Raises:
        ValueError: R²VPO does not have the aggregation, or options contradict each other.
    """
    mode = config.loss_agg_mode
    if mode not in AGGREGATIONS:
        known = ", ".join(AGGREGATIONS)
        raise ValueError(f"actor.loss_agg_mode={mode!r} is not supported by R²VPO: choose one of {known}")
    aggregation, constant = AGGREGATIONS[mode]
    if aggregation == "constant" and constant is None:
        constant = config.loss_scale_factor
        if constant is None:
            raise ValueError(
                "actor.loss_scale_factor is unset, and a batch's own width depends on its longest response: "
                "set it to data.max_response_length"
            )
    options = _sections(config.policy_loss)
    objective = replace(options.objective, aggregation=aggregation, constant=constant)
    return replace(options, objective=objective)
