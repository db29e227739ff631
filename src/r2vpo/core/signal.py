"""For how many responses of a round there is something to learn: Kish's effective number, from their advantages."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from r2vpo.core.masking import masked_sum


@dataclass(frozen=True)
class SignalSums:
    """Sums over the responses of a round, by which the effective number of responses and the unit of A are known.

    Attributes:
        size: sum over responses of a, the mean |A| of a response's tokens; 0-d.
        squared_size: sum over responses of a^2.
        squared: sum over tokens of A^2.
        tokens: number of tokens.
    """

    size: Tensor
    squared_size: Tensor
    squared: Tensor
    tokens: Tensor

    def __add__(self, other: SignalSums) -> SignalSums:
        return SignalSums.from_tensor(self.to_tensor() + other.to_tensor())

    def to_tensor(self) -> Tensor:
        """Stack the sums, (4,), for one all-reduce."""
        return torch.stack((self.size, self.squared_size, self.squared, self.tokens))

    @classmethod
    def from_tensor(cls, tensor: Tensor) -> SignalSums:
        """Rebuild the sums from the result of `to_tensor`."""
        return cls(*tensor.unbind())

    def responses(self) -> float:
        """Compute Kish's effective number of responses, `(sum a)^2 / sum a^2`.

        Equal advantages give the number of responses. A pair that is satisfied has advantages near 0 and hardly
        counts, so the number falls as pairs are learned.

        Returns:
            Between 0 and the number of responses; 0 if no response has an advantage.
        """
        squared = float(self.squared_size)
        return float(self.size) ** 2 / squared if squared > 0 else 0.0

    def unit(self) -> float:
        """Compute the root mean square of A over tokens; 1 if it is 0 or not finite."""
        mean = float(self.squared) / max(float(self.tokens), 1.0)
        return mean**0.5 if 0 < mean < float("inf") else 1.0


def signal_sums(advantages: Tensor, response_mask: Tensor) -> SignalSums:
    """Sum the signal of some responses.

    Args:
        advantages: A, (B, T).
        response_mask: (B, T) bool; a row without response tokens does not count.

    Returns:
        Detached sums.
    """
    lengths = response_mask.sum(dim=1).clamp(min=1)
    sizes = masked_sum(advantages.detach().abs(), response_mask, dim=1) / lengths
    squared = masked_sum(advantages.detach().square(), response_mask)
    return SignalSums(sizes.sum(), sizes.square().sum(), squared, response_mask.sum().to(squared.dtype))
