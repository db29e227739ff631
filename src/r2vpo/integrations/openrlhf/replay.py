"""OpenRLHF's buffer, which ages its rows where theirs forgets them."""

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

from r2vpo.core.options import ReplayOptions
from r2vpo.core.ratios import logit_movement, stale_weight
from r2vpo.core.types import MovementSums
from r2vpo.errors import UserError
from r2vpo.replay import ReplayBuffer, Rollout


@dataclass
class StaleRow:
    """A row of an earlier round.

    Attributes:
        item: Its experience, one row; `info["policy_version"]` is the round that it was made in.
        evaluated: The round whose first policy `item.action_log_probs` are of.
    """

    item: Experience
    evaluated: int


class AgedReplayBuffer(NaiveReplayBuffer):
    """OpenRLHF's buffer of one round's rows, whose `clear()` keeps them for `versions` more rounds.

    Rows come back one by one and not in groups of a prompt: their advantages are fixed when they are made. The rule of
    a draw is `r2vpo.replay`'s; it decides by a stand-in of each row, the experiences stay here.

    Args:
        theirs: The empty buffer that it takes the place of.
        options: Versions kept, stale rows for each fresh one.
        seed: Of the draws.
    """

    items: list[Experience]

    def __init__(self, theirs: NaiveReplayBuffer, options: ReplayOptions, *, seed: int = 0) -> None:
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
        """Rows of earlier rounds at hand."""
        return len(self._store)

    def is_fresh(self, item: Experience) -> bool:
        """Whether a row was sampled in this round."""
        return bool(item.info["policy_version"] == self.version)

    def append(self, experience: Experience) -> None:
        """Take in fresh rows, and note the version of the policy.

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
        """Put stale rows beside the fresh ones, in random order.

        Args:
            rows_a_step: Rows of an optimizer step on this process; so many are drawn that steps come out even.
            least: The smallest of a number over all processes, which have to take the same number of steps.

        Returns:
            What was drawn; `items` holds its experiences.
        """
        fresh = len(self.items)
        ready = min(self._store.wanted(fresh), len(self._store))
        count = least(max(ready - (fresh + ready) % rows_a_step, 0))
        self._drawn = [self._kept[row.group] for row in self._store.sample(count, self.version)]
        if self._drawn:
            # Their loader does not shuffle under ring attention and tensor parallelism.
            rows = self.items + [row.item for row in self._drawn]
            self.items = [rows[place] for place in torch.randperm(len(rows), generator=self._order).tolist()]
        return self._drawn

    def setup_dynamic_batch(self, strategy: Any) -> None:
        """Split all rows into steps and micro-batches; theirs takes as many steps as the fresh ones alone make."""
        told = copy.copy(strategy)
        told.args, told.args.rollout = copy.copy(strategy.args), copy.copy(strategy.args.rollout)
        # An upper bound to them, over all processes: theirs takes the steps that the fewest rows fill.
        told.args.rollout.batch_size = len(self.items) * dist.get_world_size()
        super().setup_dynamic_batch(told)

    def clear(self) -> None:
        """End the round: its fresh rows are one version old from here on, and the oldest go."""
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
        stand_in = Rollout(
            prompt_ids=torch.empty(0, dtype=torch.long),
            response_ids=torch.zeros(1, dtype=torch.long),
            response_mask=torch.ones(1, dtype=torch.bool),
            # One sum shows whether all are finite.
            rollout_log_probs=item.rollout_log_probs[mask].float().sum()[None],
            advantage=float(item.advantages[mask].abs().sum()),
            reward=0.0,
            group=number,
            policy_version=self.version,
        )
        if self._store.add([stand_in]).admitted:
            self._kept[number] = StaleRow(item, evaluated=self.version)


def forward_passes(
    rows: Sequence[StaleRow], args: Any, micro_batch: int, most: Callable[[int], int]
) -> list[list[StaleRow]]:
    """Split rows into forward passes.

    Args:
        rows: As many on every process.
        args: OpenRLHF's; with dynamic batching a pass has at most `rollout.max_tokens_per_gpu` tokens.
        micro_batch: Rows of a pass without it.
        most: The largest of a number over all processes: under ZeRO-3 all take the same number of passes.
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
    """Give stale rows the log-probs of the present policy, `pi_k`, in place of an earlier one's.

    Args:
        batches: What was drawn, in forward passes; as many on every process.
        actor: OpenRLHF's actor.
        version: k.
        cap: Largest stale weight.
        packing: Whether OpenRLHF packs samples.
        ring: Its group of ring attention, or None.

    Returns:
        Sums of the movement between the last round's first policy and this round's, over the rows that were
        trained on in the last round; empty where there are none.
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
