"""What the forward passes return."""

from typing import NamedTuple

from torch import Tensor


class TokenLogProbs(NamedTuple):
    """Log-probabilities and entropies of tokens, one value per position.

    Attributes:
        log_probs: log-probability of each target, in nats, float32 (float64 for float64 hidden states), with
            gradient.
        entropy: entropy of each position's distribution, in nats, same shape and dtype, without gradient.
    """

    log_probs: Tensor
    entropy: Tensor
