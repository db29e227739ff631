"""One round of R²VPO, from sampled groups to optimizer steps, for any model and any outer loop."""

from r2vpo.learner.learner import Learner
from r2vpo.learner.micro_batch import MicroBatch, RoundShape

__all__ = ["Learner", "MicroBatch", "RoundShape"]
