"""R²VPO on TRL: `R2VPOConfig` and `R2VPOTrainer`, used as `GRPOConfig` and `GRPOTrainer` are."""

from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.trainer import R2VPOTrainer

__all__ = ["R2VPOConfig", "R2VPOTrainer"]
