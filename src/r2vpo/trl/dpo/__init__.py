"""TRL's `DPOTrainer` under the ratio-variance constraint: `R2VPODPOConfig` and `R2VPODPOTrainer`.

They need TRL 1.15, which was the first to compute log-probabilities in a fused output layer, and are tested with 1.16.
"""

import trl
from trl.trainer import utils

from r2vpo.errors import UserError

if not hasattr(utils, "add_fused_lm_head"):
    raise UserError(f"R2VPODPOTrainer needs TRL 1.15 or newer, and {trl.__version__} is installed: pip install -U trl")

from r2vpo.trl.dpo.config import R2VPODPOConfig
from r2vpo.trl.dpo.trainer import R2VPODPOTrainer

__all__ = ["R2VPODPOConfig", "R2VPODPOTrainer"]
