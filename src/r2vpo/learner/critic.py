"""What a critic adds to a round: advantages per token at its start, the value loss in its steps, and their metrics."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import torch
from torch import Tensor

from r2vpo.core.critic.loss import value_loss
from r2vpo.core.critic.normalization import normalized, token_moments
from r2vpo.core.critic.options import CriticOptions
from r2vpo.core.log_probs.layout import to_device
from r2vpo.core.log_probs.values import TokenLogProbs
from r2vpo.core.objective_config import ObjectiveConfig
from r2vpo.core.ratios import stale_weight
from r2vpo.core.returns import response_gae
from r2vpo.core.signal import SignalSums, signal_sums
from r2vpo.learner.checks import check_rewards
from r2vpo.learner.micro_batch import MicroBatch
from r2vpo.replay.group import Group, Rollout


class Critic:
    """The critic's part of the rounds. It holds no model: `forward` of the learner predicts the values.

    Args:
        options: Its options.
        config: The objective's options, of which the value loss has the aggregation.
        total: Sums a tensor over all processes.

    Attributes:
        options: The same; if they do not enable a critic, the advantages are those of the rows, and the loss is that of
            the policy.
        version: The present round.
        explained_variance: `1 - Var(v - V_k) / Var(v)` over the present round's tokens and all processes; 0 where all
            targets are equal.
    """

    def __init__(self, options: CriticOptions, config: ObjectiveConfig, total: Callable[[Tensor], Tensor]) -> None:
        self.options, self._config, self._total = options, config, total
        self.version, self.explained_variance = -1, 0.0
        self._sums: Tensor | None = None

    @property
    def enabled(self) -> bool:
        """Whether there is a critic."""
        return self.options.enabled

    @property
    def warms_up(self) -> bool:
        """Whether only the critic is trained in the present round."""
        return self.warmed_up(self.version)

    def warmed_up(self, version: int) -> bool:
        """Tell whether only the critic is trained in a round."""
        return self.enabled and 0 <= version < self.options.warmup_rounds

    def check(self, groups: Sequence[Group], version: int) -> None:
        """Refuse groups that a critic cannot learn from; see `check_rewards`."""
        if self.enabled:
            check_rewards(groups, version)

    def begin_round(self, micros: Sequence[MicroBatch], fresh: Collection[Rollout], processes: int) -> float:
        """Compute the advantages and value targets of all tokens, and write them into the micro-batches.

        The truncated weights `c = min(1, pi_k / mu)` are those of stale rows; on the rows of the present policy c is 1,
        whatever the rounding between sampler and trainer. The advantages are normalised over the round.

        Args:
            micros: The round's micro-batches, with the policy's log-probs and the values at its start.
            fresh: The rows that this round has sampled.
            processes: Number of processes that train together.

        Returns:
            How many of these rows teach something: the number of those with an advantage or, with a critic, this
            process's share of Kish's effective number over all processes, `(sum a)^2 / sum a^2`, where a is the mean
            |A| of a row's tokens.
        """
        if not self.enabled:
            return float(sum(row.advantage != 0 for row in fresh))
        raw, chosen = self._advantages(micros), {id(row) for row in fresh}
        parts = []
        for micro, advantages in zip(micros, raw, strict=True):
            assert micro.values is not None and micro.targets is not None, "just computed"
            missed = micro.targets - micro.values
            parts.append((torch.stack((advantages, micro.targets, missed)), micro.scored_mask))
        mean, variance = token_moments(parts, self._total)
        signals = []
        for micro, advantages in zip(micros, raw, strict=True):
            micro.advantages = normalized(advantages, micro.scored_mask, mean[0], variance[0])
            mine = torch.tensor([id(row) in chosen for row in micro.rollouts])
            mask = micro.scored_mask & to_device(mine, advantages.device)[:, None]
            signals.append(signal_sums(micro.advantages, mask).to_tensor())
        _, wanted, missed = variance.tolist()
        self.explained_variance = 1.0 - missed / wanted if wanted > 0 else 0.0
        return SignalSums.from_tensor(self._total(torch.stack(signals).sum(dim=0))).responses() / processes

    def _advantages(self, micros: Sequence[MicroBatch]) -> list[Tensor]:
        """Write the targets, and return the advantages, (B, T) each: all micro-batches in one pass over the tokens."""
        longest = max(micro.response_mask.shape[1] for micro in micros)

        def joined(tensors: Sequence[Tensor]) -> Tensor:
            widths = [(0, longest - one.shape[1]) for one in tensors]
            return torch.cat([torch.nn.functional.pad(*pair) for pair in zip(tensors, widths, strict=True)])

        advantages, targets = response_gae(
            rewards=torch.cat([micro.rewards for micro in micros]),
            values=joined([_known(micro.values) for micro in micros]),
            response_mask=joined([micro.scored_mask for micro in micros]),
            gamma=self.options.gamma,
            gae_lambda=self.options.gae_lambda,
            weights=joined([_truncated_weight(micro) for micro in micros]),
        )
        rows = [len(micro.rollouts) for micro in micros]
        found = []
        for micro, mine, wanted in zip(micros, advantages.split(rows), targets.split(rows), strict=True):
            width = micro.response_mask.shape[1]
            micro.targets = wanted[:, :width].contiguous()
            found.append(mine[:, :width])
        return found

    def loss(self, policy: Tensor, current: TokenLogProbs, micro: MicroBatch) -> Tensor:
        """Add the value loss of a micro-batch to the policy's, and its sums to those of the optimizer step.

        Args:
            policy: The policy's loss, 0-d. It is left out while the critic warms up, but its graph is kept: processes
                that train together wait for the gradients of all weights.
            current: Result of `Learner.policy`, with the values V, (B, T), in units of the reward, with gradient.
            micro: The rows.

        Returns:
            0-d, with gradient.
        """
        if not self.enabled:
            return policy
        values = _known(current.values)
        found = value_loss(
            values=values,
            old_values=_known(micro.values),
            targets=_known(micro.targets),
            response_mask=micro.scored_mask,
            clip=self.options.clip,
            aggregation=self._config.aggregation,
            normalizer=micro.normalizer,
            constant=self._config.constant,
        )
        seen = torch.where(micro.scored_mask, values.detach(), 0.0).sum()
        sums = torch.stack((found.loss.detach(), seen, found.clipped, micro.scored_mask.sum().to(seen.dtype)))
        self._sums = sums if self._sums is None else self._sums + sums
        return (0.0 * policy if self.warms_up else policy) + self.options.loss_weight * found.loss

    def finish_step(self) -> dict[str, float]:
        """End an optimizer step; return its numbers, over all processes, by the names of docs/metrics.md."""
        if self._sums is None:
            return {}
        loss, seen, clipped, tokens = self._total(self._sums).tolist()
        self._sums = None
        metrics = {
            "value_loss": loss,
            "value_mean": seen / max(tokens, 1.0),
            "explained_variance": self.explained_variance,
        }
        return metrics if self.options.clip is None else metrics | {"value_clip_fraction": clipped / max(tokens, 1.0)}

    def state_dict(self) -> dict[str, Any]:
        """Return what a resumed round needs in addition to its micro-batches, as numbers."""
        return {"critic": {"explained_variance": self.explained_variance}} if self.enabled else {}

    def load_state_dict(self, state: dict[str, Any], *, version: int) -> None:
        """Resume in a round.

        Args:
            state: Has what `state_dict` returned.
            version: The present round.
        """
        self.version = version
        if self.enabled:
            self.explained_variance = float(state["critic"]["explained_variance"])


def _known(values: Tensor | None) -> Tensor:
    assert values is not None, "the values at the round's start are not evaluated yet"
    return values


def _truncated_weight(micro: MicroBatch) -> Tensor:
    """Compute `c = min(1, pi_k / mu)` on stale rows, and 1 on fresh ones, (B, T); 0 outside the mask."""
    assert micro.old_log_probs is not None, "the policy at the round's start is not evaluated yet"
    weight = stale_weight(micro.old_log_probs, micro.rollout_log_probs, micro.response_mask, cap=1.0)
    fresh = (micro.staleness == 0)[:, None] & micro.response_mask
    return torch.where(fresh, 1.0, weight)
