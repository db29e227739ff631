"""What a round logs: the numbers of Stable-Baselines3's PPO under its names, and those of R²VPO beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

from r2vpo.core.ratios import LOG_RATIO_BOUND
from r2vpo.integrations.sb3.losses import Losses
from r2vpo.integrations.sb3.rows import Rows

CLIP_RANGE = 0.2
"""PPO's default: `clip_fraction` is the share of ratios beyond it, whether the objective clips or not."""

STEP = ("step_scale", "dual", "held_out_alignment", "decision_variance_target")
"""What is logged of a round's last optimizer step, by the names of docs/metrics.md."""


class RoundLog:
    """Collects the numbers of a round's minibatches; on a GPU none of them is waited for before the round's end.

    Attributes:
        last: What `Rounds.finish_step` returned for the last step.
    """

    def __init__(self) -> None:
        self._means: dict[str, list[Tensor]] = {"entropy_loss": [], "policy_gradient_loss": [], "value_loss": []}
        self._clipped: list[Tensor] = []
        self._kl: list[Tensor] = []
        self.last: Mapping[str, Any] = {}
        self._last_loss = torch.tensor(float("nan"))

    def begin_epoch(self) -> None:
        """Start an epoch: the divergence is a mean over the last one, as in PPO."""
        self._kl = []

    def add(self, losses: Losses, loss: Tensor) -> Tensor:
        """Add one minibatch.

        Args:
            losses: The parts of its loss.
            loss: Their weighted sum, 0-d.

        Returns:
            The estimate of KL(pi_k || pi), 0-d, nats per action.
        """
        self._last_loss = loss.detach()
        for name, value in zip(self._means, (losses.entropy, losses.policy.loss, losses.value), strict=True):
            self._means[name].append(value.detach())
        ratio_minus_1 = losses.log_ratio.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).expm1()
        self._clipped.append((ratio_minus_1.abs() > CLIP_RANGE).float().mean())
        kl = (ratio_minus_1 - losses.log_ratio).mean()
        self._kl.append(kl)
        return kl

    def summary(self) -> dict[str, float]:
        """Return the means over the round, those of PPO's names and those of the last step."""
        means = {name: _mean(values) for name, values in self._means.items()}
        means |= {"approx_kl": _mean(self._kl), "clip_fraction": _mean(self._clipped), "loss": float(self._last_loss)}
        return means | {name: float(self.last[name]) for name in STEP if name in self.last}


def stale_summary(stale: Rows | None, cap: float) -> dict[str, float]:
    """Describe the stale rows of a round.

    Args:
        stale: The rows; None if there are none.
        cap: Largest stale weight.

    Returns:
        `stale_rows`, and `stale_effective_sample_size`, `(sum w)^2 / (rows sum w^2)`, in (0, 1].
    """
    if stale is None:
        return {"stale_rows": 0.0}
    weight = (stale.old_log_probs - stale.rollout_log_probs).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND).exp()
    weight = weight.clamp(max=cap)
    size = weight.sum().square() / (len(stale) * weight.square().sum())
    return {"stale_rows": float(len(stale)), "stale_effective_sample_size": float(size)}


def _mean(values: list[Tensor]) -> float:
    return float(torch.stack(values).double().mean()) if values else float(np.nan)
