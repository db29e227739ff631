"""R²VPO on TRL: `R2VPOConfig` and `R2VPOTrainer`, used as `GRPOConfig` and `GRPOTrainer` are.

`R2VPODPOConfig` and `R2VPODPOTrainer` are used as `DPOConfig` and `DPOTrainer` are; they are imported on first use.
"""

import os
from importlib import import_module
from typing import TYPE_CHECKING, Any

# The sampler is a `rollout_func`. TRL warns that this hook may change; pinning TRL and contract tests guard against it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.trainer import R2VPOTrainer

if TYPE_CHECKING:
    from r2vpo.trl.dpo import R2VPODPOConfig, R2VPODPOTrainer

__all__ = ["R2VPOConfig", "R2VPODPOConfig", "R2VPODPOTrainer", "R2VPOTrainer"]


def __getattr__(name: str) -> Any:
    if name not in ("R2VPODPOConfig", "R2VPODPOTrainer"):
        raise AttributeError(f"module 'r2vpo.trl' has no attribute {name!r}")
    return getattr(import_module("r2vpo.trl.dpo"), name)
