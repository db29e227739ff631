"""The objectives, one file each: a frozen config and one keyword-only function of the same shape."""

from r2vpo.core.objectives.clip import ClipConfig, clip_loss
from r2vpo.core.objectives.ratio_variance import RatioVarianceConfig, r2vpo_loss
from r2vpo.core.objectives.registry import OBJECTIVES, Objective, find_objective
from r2vpo.core.types import LossOutput

__all__ = [
    "OBJECTIVES",
    "ClipConfig",
    "LossOutput",
    "Objective",
    "RatioVarianceConfig",
    "clip_loss",
    "find_objective",
    "r2vpo_loss",
]
