"""The objectives, one file each: a frozen config, and a keyword-only loss function with a common signature."""

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
from r2vpo.core.objectives.registry import (
    OBJECTIVES,
    Objective,
    find_objective,
    objective_config,
    own_options,
)
from r2vpo.core.objectives.sapo import SapoConfig, sapo_loss
from r2vpo.core.objectives.spo import SpoConfig, spo_loss
from r2vpo.core.objectives.surrogate import Loss, Terms, loss_of
from r2vpo.core.objectives.topr import ToprConfig, topr_loss
from r2vpo.core.objectives.vespo import VespoConfig, vespo_loss
from r2vpo.core.types import LossOutput

__all__ = [
    "OBJECTIVES",
    "CispoConfig",
    "ClipConfig",
    "DppoTvConfig",
    "GspoConfig",
    "KLPenaltyConfig",
    "Loss",
    "LossOutput",
    "M2poConfig",
    "Objective",
    "ObjectiveConfig",
    "P3oConfig",
    "PolicyGradientConfig",
    "RatioVarianceConfig",
    "SapoConfig",
    "SpoConfig",
    "SurrogateConfig",
    "Terms",
    "ToprConfig",
    "VespoConfig",
    "cispo_loss",
    "clip_loss",
    "dppo_tv_loss",
    "find_objective",
    "gspo_loss",
    "kl_penalty_loss",
    "loss_of",
    "m2po_loss",
    "objective_config",
    "own_options",
    "p3o_loss",
    "policy_gradient_loss",
    "r2vpo_loss",
    "sapo_loss",
    "spo_loss",
    "topr_loss",
    "vespo_loss",
]
