"""The policy loss with verl's signature."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from r2vpo.integrations.verl.options import AGGREGATIONS
from r2vpo.integrations.verl.state import current


def policy_loss(
    old_log_prob: Tensor,
    log_prob: Tensor,
    advantages: Tensor,
    response_mask: Tensor,
    loss_agg_mode: str = "token-mean",
    config: Any = None,
    rollout_is_weights: Tensor | None = None,
) -> tuple[Tensor, dict[str, Any]]:
    """Compute R²VPO, or another objective of `r2vpo.core.objectives`, as a policy loss of verl.

    The stale weight is verl's own `rollout_is_weights`, capped again by `stale_weight_cap`; a token with weight 0
    (rejected) is not trained on. With anchor "behavior" `old_log_prob` must be the sampler's, which is the case with
    `algorithm.rollout_correction.bypass_mode=true`.

    Args:
        old_log_prob: (B, T) nats, of the trainer at the round's start, or of the sampler in bypass mode.
        log_prob: (B, T) nats; carries gradient.
        advantages: (B, T), dimensionless.
        response_mask: (B, T).
        loss_agg_mode: a key of `AGGREGATIONS`.
        config: verl's `ActorConfig`; `global_batch_info` has the denominators over all micro-batches and processes.
        rollout_is_weights: (B, T), dimensionless; None for 1 everywhere.

    Returns:
        The loss, scaled like verl's `agg_loss`, and detached 0-d metrics.

    Raises:
        ValueError: Anchor "behavior" with importance weights, which the ratio to the sampler already includes.
    """
    state = current(config)
    mask = response_mask.bool()
    rollout = sampler_log_probs(old_log_prob, rollout_is_weights, state.method.config.anchor)
    if rollout_is_weights is not None:
        mask = mask & (rollout_is_weights > 0)
    output = state.method.loss(
        log_probs=log_prob,
        old_log_probs=old_log_prob,
        rollout_log_probs=rollout,
        advantages=advantages,
        response_mask=mask,
        dual=state.controls.dual.value,
        config=state.method.config,
        normalizer=_normalizer(loss_agg_mode, config.global_batch_info),
    )
    if state.measuring and torch.is_grad_enabled():
        state.controls.measure(output)
        # The worker reports once per mini-batch, over all processes; here each number would wait for the device.
        return output.loss, {}
    return output.loss, {f"actor/r2vpo/{name}": value.item() for name, value in output.metrics.items()}


def sampler_log_probs(old: Tensor, weights: Tensor | None, anchor: str) -> Tensor | None:
    """Return the sampler's log-probs, from verl's weights `pi_k / mu`.

    Args:
        old: (B, T) nats, the policy's at the start of the update.
        weights: (B, T), 0 where verl rejects a token, which the mask then leaves out; None for 1 everywhere.
        anchor: the objective's.

    Returns:
        (B, T) nats, or None where they are the policy's.

    Raises:
        ValueError: Anchor "behavior" with weights.
    """
    if anchor == "behavior":
        if weights is not None:
            raise ValueError(
                "policy_loss.anchor=behavior takes the ratio to the sampler, and rollout_is_weights would repeat it: "
                "set algorithm.rollout_correction.bypass_mode=true, or policy_loss.anchor=proximal"
            )
        return old.detach()
    if weights is None:
        return None
    return old.detach() - torch.where(weights > 0, weights, 1.0).to(old.dtype).log()


def _normalizer(mode: str, info: dict[str, Any]) -> Tensor | float | None:
    """Return the denominator over all processes; verl averages gradients over `dp_size` of them."""
    name = "batch_num_tokens" if AGGREGATIONS[mode][0] == "token_mean" else "global_batch_size"
    total = info.get(name)
    return None if total is None else total / info.get("dp_size", 1)
