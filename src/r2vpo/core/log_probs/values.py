"""What the forward passes return."""

from typing import NamedTuple

from torch import Tensor


class TokenLogProbs(NamedTuple):
    """Log-probabilities, entropies and values of tokens, one of each per position.

    Attributes:
        log_probs: log-probability of each target, in nats, float32 (float64 for float64 hidden states), with
            gradient.
        entropy: entropy of each position's distribution, in nats, same shape and dtype, without gradient.
        values: V of the state before each target, predicted from the hidden state that predicts the target, in units
            of the reward, same shape, float32, with gradient; None without a critic.
    """

    log_probs: Tensor
    entropy: Tensor
    values: Tensor | None = None
