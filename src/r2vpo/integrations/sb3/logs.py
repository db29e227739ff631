"""What a round logs: the numbers of Stable-Baselines3's PPO under its names, and those of R²VPO beside them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.ratios import LOG_RATIO_BOUND
from r2vpo.integrations.sb3.losses import Losses
from r2vpo.integrations.sb3.rows import Rows

CLIP_RANGE = 0.2
"""PPO's default: `clip_fraction` is the share of ratios beyond it, whether the objective clips or not."""

STEP = ("step_scale", "dual", "decision_variance_target")
"""What is logged of a round's last optimizer step, by the names of docs/metrics.md."""


class RoundLog:
    """Collects the numbers of a round's minibatches; on a GPU none of them is waited for before the round's end.

    Attributes:
        last: What `Rounds.finish_step` returned for the last step.
    """

    def __init__(self) -> None:
        self._means: dict[str, list[Tensor]] = {"entropy_loss": [], "policy_gradient_loss": [], "value_loss": []}
        self._log_ratios: list[Tensor] = []
        self._epoch = 0
        self._last_loss = torch.tensor(float("nan"))
        self.last: Mapping[str, Any] = {}

    def begin_epoch(self) -> None:
        """Start an epoch: the divergence is a mean over the last one, as in PPO."""
        self._epoch = len(self._log_ratios)

    def add(self, losses: Losses, loss: Tensor) -> None:
        """Add one minibatch.

        Args:
            losses: The parts of its loss.
            loss: Their weighted sum, 0-d.
        """
        self._last_loss = loss.detach()
        for name, value in zip(self._means, (losses.entropy, losses.policy.loss, losses.value), strict=True):
            self._means[name].append(value.detach())
        self._log_ratios.append(losses.log_ratio)

    def summary(self) -> dict[str, float]:
        """Return the means over the round's minibatches, and the numbers of the last step."""
        numbers = {name: _mean(values) for name, values in self._means.items()}
        log_ratio = torch.cat(self._log_ratios).clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND)
        ratio_minus_1 = log_ratio.expm1()
        sizes = [len(one) for one in self._log_ratios]
        clipped = (ratio_minus_1.abs() > CLIP_RANGE).float().split(sizes)
        kl = (ratio_minus_1 - log_ratio).split(sizes)[self._epoch :]
        numbers |= {"clip_fraction": _mean([one.mean() for one in clipped]), "loss": float(self._last_loss)}
        numbers["approx_kl"] = _mean([one.mean() for one in kl])
        return numbers | {name: float(self.last[name]) for name in STEP if name in self.last}


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
    return float(torch.stack(values).double().mean())
