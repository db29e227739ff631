"""The policy loss with OpenRLHF's interface."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from r2vpo.core.controls import Controls
from r2vpo.core.diagnostics import QUANTITIES, diagnostic_sums
from r2vpo.core.method import Method


class R2VPOPolicyLoss(nn.Module):
    """Loss that is called like OpenRLHF's `PolicyLoss`, with every objective of `r2vpo.core.objectives`.

    `old_log_probs` are the actor's own at the start of the round, and `rollout_log_probs` are the sampler's, present if
    `--algo.advantage.is_correction_level` is not `off`. Their ratio is the stale weight, capped by `stale_weight_cap`;
    OpenRLHF's own correction (its mode, gating and threshold) is not applied in addition.

    Args:
        method: its loss and options.
        controls: multiplier and step size, which accumulate every call that has a gradient.
    """

    def __init__(self, method: Method, controls: Controls) -> None:
        super().__init__()
        self.method, self.controls = method, controls

    def forward(
        self,
        log_probs: Tensor,
        old_log_probs: Tensor,
        advantages: Tensor,
        action_mask: Tensor,
        rollout_log_probs: Tensor | None = None,
        dp_size: int = 1,
        batch_num_tokens: Tensor | float | None = None,
        global_batch_size: Tensor | float | None = None,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor | None, Tensor | None]:
        """Compute the loss.

        Args:
            log_probs: (B, A) nats; carries gradient.
            old_log_probs: (B, A) nats.
            advantages: (B, A), dimensionless; per token under GAE.
            action_mask: (B, A).
            rollout_log_probs: (B, A) nats, or None.
            dp_size: number of processes over which gradients are averaged.
            batch_num_tokens: tokens of the optimizer step over all processes; None for this batch's.
            global_batch_size: responses of the optimizer step over all processes.

        Returns:
            Loss; share of tokens that clipping at 0.2 would cut; mean of `log pi_k - log pi`, nats; mean of `log mu -
            log pi_k` and 0 (nothing is filtered), both None without `rollout_log_probs`.

        Raises:
            ValueError: Anchor "behavior" without `rollout_log_probs`.
        """
        mask = action_mask.bool()
        by_tokens = self.method.config.aggregation == "token_mean"
        total = batch_num_tokens if by_tokens else global_batch_size
        output = self.method.loss(
            log_probs=log_probs,
            old_log_probs=old_log_probs,
            rollout_log_probs=rollout_log_probs,
            advantages=advantages,
            response_mask=mask,
            dual=self.controls.dual.value,
            config=self.method.config,
            normalizer=None if total is None else total / dp_size,
        )
        now = log_probs.detach()
        sums = self.controls.measure(output) if torch.is_grad_enabled() else diagnostic_sums(output)
        tokens = mask.sum().clamp(min=1)
        clipped = sums[QUANTITIES.index("clipped")].sum() / tokens
        moved = torch.where(mask, old_log_probs - now, 0.0).sum() / tokens
        if rollout_log_probs is None:
            return output.loss, clipped, moved, None, None
        apart = torch.where(mask, rollout_log_probs - old_log_probs, 0.0).sum() / tokens
        return output.loss, clipped, moved, apart, torch.zeros_like(apart)
