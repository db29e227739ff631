"""The objectives by name: a plain dict that can be read and extended."""

from dataclasses import fields
from typing import Any, NamedTuple

from r2vpo.core.method_options import ObjectiveOptions
from r2vpo.core.nearest import nearest
from r2vpo.core.objective_config import ObjectiveConfig, SurrogateConfig
from r2vpo.core.objectives.cispo import CispoConfig, cispo_loss
from r2vpo.core.objectives.clip import ClipConfig, clip_loss
from r2vpo.core.objectives.dppo_tv import DppoTvConfig, dppo_tv_loss
from r2vpo.core.objectives.gspo import GspoConfig, gspo_loss
from r2vpo.core.objectives.kl_penalty import KLPenaltyConfig, kl_penalty_loss
from r2vpo.core.objectives.m2po import M2poConfig, m2po_loss
from r2vpo.core.objectives.p3o import P3oConfig, p3o_loss
from r2vpo.core.objectives.policy_gradient import PolicyGradientConfig, policy_gradient_loss
from r2vpo.core.objectives.ratio_variance import RatioVarianceConfig, r2vpo_loss
from r2vpo.core.objectives.sapo import SapoConfig, sapo_loss
from r2vpo.core.objectives.spo import SpoConfig, spo_loss
from r2vpo.core.objectives.surrogate import Loss
from r2vpo.core.objectives.topr import ToprConfig, topr_loss
from r2vpo.core.objectives.vespo import VespoConfig, vespo_loss
from r2vpo.core.validation import check_choice


class Objective(NamedTuple):
    """An objective: its options and its function.

    Attributes:
        config_class: A frozen dataclass, checked when it is built.
        loss: The function.
    """

    config_class: type[ObjectiveConfig]
    loss: Loss


OBJECTIVES: dict[str, Objective] = {
    "r2vpo": Objective(RatioVarianceConfig, r2vpo_loss),
    "clip": Objective(ClipConfig, clip_loss),
    "spo": Objective(SpoConfig, spo_loss),
    "cispo": Objective(CispoConfig, cispo_loss),
    "gspo": Objective(GspoConfig, gspo_loss),
    "sapo": Objective(SapoConfig, sapo_loss),
    "m2po": Objective(M2poConfig, m2po_loss),
    "dppo_tv": Objective(DppoTvConfig, dppo_tv_loss),
    "vespo": Objective(VespoConfig, vespo_loss),
    "topr": Objective(ToprConfig, topr_loss),
    "p3o": Objective(P3oConfig, p3o_loss),
    "kl_penalty": Objective(KLPenaltyConfig, kl_penalty_loss),
    "policy_gradient": Objective(PolicyGradientConfig, policy_gradient_loss),
}


def find_objective(name: str) -> Objective:
    """Look up an objective.

    Args:
        name: A key of `OBJECTIVES`.

    Returns:
        Its config class and its function.

    Raises:
        ValueError: There is no objective of that name; the message lists the known ones.
    """
    check_choice("objective", name, OBJECTIVES)
    return OBJECTIVES[name]


_SHARED = {field.name for field in fields(SurrogateConfig)} | {"delta"}


def own_options(name: str) -> list[str]:
    """List the names of an objective's own options.

    Args:
        name: A key of `OBJECTIVES`.

    Returns:
        Fields of its config class that `ObjectiveOptions` does not have.
    """
    return [field.name for field in fields(find_objective(name).config_class) if field.name not in _SHARED]


def objective_config(chosen: ObjectiveOptions) -> ObjectiveConfig:
    """Build an objective's config from the section that chooses it.

    Args:
        chosen: The section: the objective's name, the shared options, and its own.

    Returns:
        The config, with the objective's own defaults for options that were left out.

    Raises:
        ValueError: An option is unknown (the message names the nearest and the known ones), or a value is rejected.
    """
    known = own_options(chosen.name)
    for option in chosen.options:
        if option not in known:
            close = nearest(option, known)
            hint = f"did you mean {close}? " if close else ""
            has = f"has {', '.join(known)}" if known else "has none"
            raise ValueError(f"options.{option} is not an option of {chosen.name!r}, but must be one: {hint}it {has}")
    shared: dict[str, Any] = {name: getattr(chosen, name) for name in ("anchor", "stale_weight_cap", "constant")}
    shared |= {name: value for name in ("level", "aggregation") if (value := getattr(chosen, name)) is not None}
    if chosen.name == "r2vpo":
        shared["delta"] = chosen.delta
    if chosen.ratio_variance is not None:
        shared["ratio_variance_delta"] = chosen.ratio_variance.delta
    try:
        return find_objective(chosen.name).config_class(**chosen.options, **shared)
    except ValueError as error:
        is_own = str(error).split()[0] in chosen.options
        raise ValueError(f"options.{error}" if is_own else str(error)) from None
