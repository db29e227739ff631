"""R²VPO: reinforcement-learning fine-tuning with a soft constraint on the variance of the policy ratio."""

__version__ = "0.1.0"
