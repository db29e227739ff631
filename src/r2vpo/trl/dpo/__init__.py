"""TRL's `DPOTrainer` under the ratio-variance constraint: `R2VPODPOConfig` and `R2VPODPOTrainer`."""

from r2vpo.trl.dpo.config import R2VPODPOConfig
from r2vpo.trl.dpo.trainer import R2VPODPOTrainer

__all__ = ["R2VPODPOConfig", "R2VPODPOTrainer"]
