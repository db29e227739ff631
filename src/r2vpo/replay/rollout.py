"""A generated response, with everything needed to train on it again under a later policy."""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

FLOAT_BYTES = 4


def own_copy(tensor: Tensor, dtype: torch.dtype) -> Tensor:
    """Copy a tensor into its own storage on the CPU.

    A row cut out of a padded batch is a view: keeping it would keep the whole batch alive.
    """
    return torch.empty(tensor.shape, dtype=dtype).copy_(tensor.detach())


@dataclass(eq=False)
class Rollout:
    """A response, the log-probs it was sampled with, and its advantage.

    Args:
        prompt_ids: (P,) long, tokens of the prompt without padding.
        response_ids: (T,) long, sampled tokens without padding.
        response_mask: (T,) bool, True on the tokens that are trained on.
        rollout_log_probs: (T,) float32, nats, the sampler's log-probs (behaviour policy); no gradient.
        advantage: dimensionless, constant over the response.
        reward: the response's reward, in the reward's own unit.
        group: unique number of the prompt group that the response was drawn in.
        policy_version: version of the policy that generated it.
        old_log_probs: (T,) float32, nats, the trainer's log-probs at the start of the round `old_version`; None until
            they have been computed.
        old_version: policy version of `old_log_probs`.
        uses: how often the row has been drawn from the buffer.

    Raises:
        ValueError: the tensors of a row do not fit each other.
    """

    prompt_ids: Tensor
    response_ids: Tensor
    response_mask: Tensor
    rollout_log_probs: Tensor
    advantage: float
    reward: float
    group: int
    policy_version: int
    old_log_probs: Tensor | None = None
    old_version: int | None = None
    uses: int = 0

    def __post_init__(self) -> None:
        if self.prompt_ids.dim() != 1 or self.response_ids.dim() != 1:
            raise ValueError(
                f"rollout of group {self.group}: prompt_ids {tuple(self.prompt_ids.shape)} and response_ids "
                f"{tuple(self.response_ids.shape)} must have one dimension: pass one row, unpadded"
            )
        for name in ("response_mask", "rollout_log_probs", "old_log_probs"):
            tensor = getattr(self, name)
            if tensor is not None and tensor.shape != self.response_ids.shape:
                raise ValueError(
                    f"rollout of group {self.group}: {name} {tuple(tensor.shape)} must have the shape of "
                    f"response_ids {tuple(self.response_ids.shape)}: cut both to the same tokens"
                )

    def staleness(self, policy_version: int) -> int:
        """Return how many versions the row is behind `policy_version`."""
        return policy_version - self.policy_version

    def remember_old_log_probs(self, log_probs: Tensor, version: int) -> None:
        """Keep the trainer's log-probs of this row at the start of round `version`.

        Args:
            log_probs: (T,) nats; copied to the CPU in float32, without gradient.
            version: the policy version they belong to.

        Raises:
            ValueError: the shape is not that of the response.
        """
        if log_probs.shape != self.response_ids.shape:
            raise ValueError(
                f"rollout of group {self.group}: log_probs {tuple(log_probs.shape)} must have the shape of "
                f"response_ids {tuple(self.response_ids.shape)}: cut the padding off first"
            )
        self.old_log_probs = own_copy(log_probs, torch.float32)
        self.old_version = version

    def is_finite(self) -> bool:
        """Tell whether the advantage and every log-prob under the mask are finite."""
        seen = self.rollout_log_probs[self.response_mask.bool()]
        return bool(torch.isfinite(seen).all()) and abs(self.advantage) < float("inf")

    def response_bytes(self) -> int:
        """Return the size of the response's tensors in bytes, including room for `old_log_probs`."""
        return self.response_ids.numel() * (8 + 1 + 2 * FLOAT_BYTES)

    def stored(self, prompt_ids: Tensor) -> Rollout:
        """Return a copy that owns its tensors on the CPU, with the group's common prompt."""
        old = self.old_log_probs
        return replace(
            self,
            prompt_ids=prompt_ids,
            response_ids=own_copy(self.response_ids, torch.long),
            response_mask=own_copy(self.response_mask, torch.bool),
            rollout_log_probs=own_copy(self.rollout_log_probs, torch.float32),
            old_log_probs=None if old is None else own_copy(old, torch.float32),
            advantage=float(self.advantage),
            reward=float(self.reward),
        )
