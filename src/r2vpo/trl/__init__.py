"""R²VPO on TRL: `R2VPOConfig` and `R2VPOTrainer`, used as `GRPOConfig` and `GRPOTrainer` are."""

import os

# The sampler is a `rollout_func`. TRL warns that this hook may change; pinning TRL and contract tests guard against it.
os.environ.setdefault("TRL_EXPERIMENTAL_SILENCE", "1")

from r2vpo.trl.config import R2VPOConfig
from r2vpo.trl.trainer import R2VPOTrainer

__all__ = ["R2VPOConfig", "R2VPOTrainer"]
