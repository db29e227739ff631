"""Replacement of OpenRLHF's buffer that keeps rows for further rounds instead of discarding them."""

from __future__ import annotations

import copy
import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from openrlhf.trainer.ppo_utils.experience import Experience, make_experience_batch
from openrlhf.trainer.ppo_utils.replay_buffer import NaiveReplayBuffer
from openrlhf.utils.seqlen_balancing import get_minimum_num_micro_batch_size, get_seqlen_balanced_partitions

from r2vpo.core.options import BufferOptions
from r2vpo.core.ratios import logit_movement, stale_weight
from r2vpo.core.types import MovementSums
from r2vpo.errors import UserError
from r2vpo.replay import Group, ReplayBuffer
from r2vpo.replay.stand_in import NO_PROMPT, stand_in


@dataclass
class StaleRow:
    """A row of an earlier round.

    Attributes:
        item: Its experience, one row; `info["policy_version"]` is the round in which it was made.
        evaluated: The round whose first policy gave `item.action_log_probs`.
    """

    item: Experience
    evaluated: int


class AgedReplayBuffer(NaiveReplayBuffer):
    """OpenRLHF's buffer of one round's rows, whose `clear()` keeps them for `versions` more rounds.

    Rows are drawn again one by one and not in groups of a prompt, because their advantages are fixed when they are
    made. `r2vpo.replay` decides on a placeholder for each row; the experiences stay here.

    Args:
        theirs: The empty OpenRLHF buffer that it replaces.
        options: Versions to keep, and stale rows per fresh row.
        seed: Seed of the draws.
    """

    items: list[Experience]

    def __init__(self, theirs: NaiveReplayBuffer, options: BufferOptions, *, seed: int = 0) -> None:
        super().__init__(
            theirs.sample_batch_size, theirs.limit, theirs.cpu_offload, theirs.packing_samples, theirs.dynamic_batch
        )
        self.version = 0
        self._store = ReplayBuffer(options, seed)
        self._kept: dict[int, StaleRow] = {}
        self._numbers = itertools.count()
        self._order = torch.Generator().manual_seed(seed)
        self._drawn: list[StaleRow] = []

    @property
    def kept(self) -> int:
        """Return the number of stored rows of earlier rounds."""
        return len(self._store)

    def is_fresh(self, item: Experience) -> bool:
        """Return whether a row was sampled in this round."""
        return bool(item.info["policy_version"] == self.version)

    def append(self, experience: Experience) -> None:
        """Add fresh rows, and record the version of the policy in them.

        Raises:
            UserError: The rows have no `rollout_log_probs`.
        """
        if experience.rollout_log_probs is None:
            raise UserError(
                "replay: the rows have no rollout_log_probs: set --algo.advantage.is_correction_level token, or "
                "--set replay.versions=0"
            )
        before = {id(item) for item in self.items}
        super().append(experience)
        for item in self.items:
            if id(item) not in before:
                item.info["policy_version"] = float(self.version)

    def draw(self, rows_a_step: int, least: Callable[[int], int]) -> list[StaleRow]:
        """Add stale rows to the fresh ones, in random order.

        Args:
            rows_a_step: Rows per optimizer step on this process; the number drawn makes all steps complete.
            least: Returns the minimum of a number over all processes, which must take the same number of steps.

        Returns:
            The draw; `items` holds its experiences.
        """
        fresh = len(self.items)
        ready = min(self._store.wanted(fresh), len(self._store))
        count = least(max(ready - (fresh + ready) % rows_a_step, 0))
        self._drawn = [self._kept[group.number] for group in self._store.sample(count, self.version)]
        if self._drawn:
            # OpenRLHF's loader does not shuffle under ring attention and tensor parallelism.
            rows = self.items + [row.item for row in self._drawn]
            self.items = [rows[place] for place in torch.randperm(len(rows), generator=self._order).tolist()]
        return self._drawn

    def setup_dynamic_batch(self, strategy: Any) -> None:
        """Split all rows into steps and micro-batches; OpenRLHF's makes only the steps of the fresh rows."""
        told = copy.copy(strategy)
        told.args, told.args.rollout = copy.copy(strategy.args), copy.copy(strategy.args.rollout)
        # An upper bound over all processes, since OpenRLHF's takes the steps that the fewest rows fill.
        told.args.rollout.batch_size = len(self.items) * dist.get_world_size()
        super().setup_dynamic_batch(told)

    def clear(self) -> None:
        """End the round: its fresh rows become one version old, and the oldest are removed."""
        stale = {id(row.item) for row in self._drawn}
        for item in self.items:
            if id(item) not in stale:
                self._keep(item)
        self.items, self._drawn = [], []
        self.version += 1
        self._store.begin_version(self.version)
        oldest = self.version - self._store.options.versions
        self._kept = {number: row for number, row in self._kept.items() if row.item.info["policy_version"] >= oldest}

    def _keep(self, item: Experience) -> None:
        mask, number = item.action_mask.bool(), next(self._numbers)
        row = stand_in(item.rollout_log_probs, mask, advantage=float(item.advantages[mask].abs().sum()), reward=0.0)
        if self._store.add([Group(number, self.version, NO_PROMPT, [row])]).admitted:
            self._kept[number] = StaleRow(item, evaluated=self.version)


def forward_passes(
    rows: Sequence[StaleRow], args: Any, micro_batch: int, most: Callable[[int], int]
) -> list[list[StaleRow]]:
    """Split rows into forward passes.

    Args:
        rows: The rows; every process has the same number.
        args: OpenRLHF's; with dynamic batching a pass has at most `rollout.max_tokens_per_gpu` tokens.
        micro_batch: Rows per pass without dynamic batching.
        most: Returns the maximum of a number over all processes: under ZeRO-3 all make the same number of passes.
    """
    if not args.train.dynamic_batch_enable or not rows:
        return [list(rows[start : start + micro_batch]) for start in range(0, len(rows), micro_batch)]
    lengths = [int(row.item.total_length) for row in rows]
    budget, ds = args.rollout.max_tokens_per_gpu, args.ds
    count = most(get_minimum_num_micro_batch_size(lengths, budget, ds.ring_attn_size, ds.tensor_parallel_size))
    return [[rows[i] for i in part] for part in get_seqlen_balanced_partitions(lengths, count, equal_size=False)]


def evaluate(
    batches: Sequence[Sequence[StaleRow]], actor: Any, *, version: int, cap: float, packing: bool, ring: Any
) -> MovementSums:
    """Replace the log-probs of stale rows by those of the current policy, `pi_k`.

    Args:
        batches: The drawn rows by forward pass; every process has the same number.
        actor: OpenRLHF's actor.
        version: k.
        cap: Largest stale weight.
        packing: Whether OpenRLHF packs samples.
        ring: Its ring-attention group, or None.

    Returns:
        Sums of the movement between the last round's first policy and this round's, over the rows that were
        trained on in the last round; empty if there are none.
    """
    total = MovementSums.zero()
    actor.eval()
    for chunk in batches:
        batch = make_experience_batch([row.item for row in chunk], packing).to_device(torch.cuda.current_device())
        with torch.no_grad():
            found = actor(batch.sequences, batch.action_mask, attention_mask=batch.attention_mask, ring_attn_group=ring)
        for row, log_probs in zip(chunk, found.float().cpu(), strict=True):
            item = row.item
            mask, now = item.action_mask.bool()[None], log_probs[None, : item.action_mask.shape[0]]
            if row.evaluated == version - 1:
                then = item.action_log_probs[None].float()
                weight = stale_weight(then, item.rollout_log_probs[None], mask, cap, "token")
                total = total + logit_movement(now, then, mask, weight)
            item.action_log_probs, row.evaluated = now[0], version
    actor.train()
    return total
