"""Convert rows between TRL's padded batches, the replay's unpadded rollouts and micro-batches for training."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2vpo.core.log_probs import PrefixBatch
from r2vpo.core.log_probs.layout import to_device
from r2vpo.replay import Rollout


@dataclass
class MicroBatch:
    """Rows of one forward and backward pass; B rows, prompts left-padded to P, responses right-padded to T.

    Attributes:
        rollouts: The rows, unpadded, in order; empty if the micro-batch only keeps processes in step.
        prompt_ids: (B, P) long.
        prompt_mask: (B, P) bool.
        response_ids: (B, T) long.
        response_mask: (B, T) bool, True on the tokens that are trained on.
        attention_mask: (B, T) bool, True on every token of the response, including tool results.
        advantages: (B,) float.
        rollout_log_probs: (B, T) nats, or None.
        staleness: (B,) long, versions behind.
        held_out: (B,) bool, True on rows whose group no earlier optimizer step of the round has trained on; see
            `hold_out`.
        normalizer: The global number of tokens (or responses) of this micro-batch's optimizer step.
        old_log_probs: (B, T) nats, the policy's at the start of the round; None if that is the current policy.
        parts: The rows split by whether they need a gradient; None until `in_parts` is called.
    """

    rollouts: list[Rollout]
    prompt_ids: Tensor
    prompt_mask: Tensor
    response_ids: Tensor
    response_mask: Tensor
    attention_mask: Tensor
    advantages: Tensor
    rollout_log_probs: Tensor
    staleness: Tensor
    held_out: Tensor
    normalizer: Tensor | None = None
    old_log_probs: Tensor | None = None
    parts: list[MicroBatchPart] | None = None
    _prefix_batch: PrefixBatch | None = None

    def prefix_batch(self) -> PrefixBatch:
        """Return the rows with each distinct prompt once."""
        if self._prefix_batch is None:
            self._prefix_batch = PrefixBatch.from_rows(
                self.prompt_ids, self.prompt_mask, self.response_ids, self.attention_mask
            )
        return self._prefix_batch


@dataclass(frozen=True)
class MicroBatchPart:
    """Some rows of a micro-batch, computed by a separate forward pass.

    Attributes:
        micro: The rows, padded again; only what a forward pass reads is meaningful.
        places: (b,) long, their row indices in the micro-batch; empty for an idle row that only keeps processes in
            step.
        trained: Whether the pass keeps a graph for the backward pass.
    """

    micro: MicroBatch
    places: Tensor
    trained: bool


def in_parts(micro: MicroBatch, *, pad_token_id: int, processes: int) -> list[MicroBatchPart]:
    """Split the rows into those with an advantage, which need a gradient, and those without, which need none.

    Every micro-batch has a part with a gradient, and with several processes both parts. If there is no such row, an
    idle row takes its place, so that all processes run the same number of forward passes.
    """
    rows: dict[bool, list[int]] = {True: [], False: []}
    for place, rollout in enumerate(micro.rollouts):
        rows[rollout.advantage != 0].append(place)
    parts = []
    for trained, places in rows.items():
        if not places and not trained and processes == 1:
            continue
        chosen = [micro.rollouts[place] for place in places] or [idle_rollout(micro.rollouts)]
        device = micro.advantages.device
        part = collate(chosen, version=chosen[0].policy_version, pad_token_id=pad_token_id, device=device)
        parts.append(MicroBatchPart(part, torch.tensor(places, dtype=torch.long, device=device), trained))
    return parts


def fresh_rollouts(
    batch: dict[str, Any],
    *,
    rewards: Tensor,
    advantages: Tensor,
    group_size: int,
    versions: Sequence[int],
    first_group: int,
) -> list[Rollout]:
    """Unpad TRL's generated batch into rollouts; `group_size` consecutive rows are a group.

    Args:
        batch: TRL's generation batch: `prompt_ids`, `prompt_mask` (B, P), `completion_ids`, `completion_mask` (B,
            T), and
            where they apply `sampling_per_token_logps` and `tool_mask` (B, T).
        rewards: (B,) weighted sums.
        advantages: (B,).
        group_size: Rows per prompt.
        versions: (B,) the policy version that generated each row.
        first_group: Identifier of the first group; the following ones count up.

    Returns:
        B rollouts on the CPU. `rollout_log_probs` are NaN if the sampler returned none; they are later filled in from
        the trainer's own.
    """
    sampled = batch.get("sampling_per_token_logps")
    tools = batch.get("tool_mask")
    columns = {name: batch[name].cpu() for name in ("prompt_ids", "prompt_mask", "completion_ids", "completion_mask")}
    sampled = sampled.float().cpu() if sampled is not None else None
    tools = tools.cpu() if tools is not None else None
    reward_list, advantage_list = rewards.tolist(), advantages.tolist()
    lengths = columns["completion_mask"].sum(1).tolist()
    rollouts = []
    for row in range(columns["prompt_ids"].size(0)):
        length = max(lengths[row], 1)
        mask = columns["completion_mask"][row, :length].bool()
        if tools is not None:
            mask = mask & tools[row, :length].bool()
        rollouts.append(
            Rollout(
                prompt_ids=columns["prompt_ids"][row][columns["prompt_mask"][row].bool()].clone(),
                response_ids=columns["completion_ids"][row, :length].clone(),
                response_mask=mask.clone(),
                rollout_log_probs=(
                    sampled[row, :length].clone() if sampled is not None else torch.full((length,), torch.nan)
                ),
                advantage=advantage_list[row],
                reward=reward_list[row],
                group=first_group + row // group_size,
                policy_version=versions[row],
            )
        )
    return rollouts


def collate(rollouts: Sequence[Rollout], *, version: int, pad_token_id: int, device: torch.device) -> MicroBatch:
    """Pad rollouts to one micro-batch; prompts on the left, responses on the right.

    Everything is assembled on the CPU, where the rollouts are, and moved once; the device is not queried later.
    """

    def right(tensors: list[Tensor], value: float) -> Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=value)

    def left(tensors: list[Tensor], value: float) -> Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=value, padding_side="left")

    old = [r.old_log_probs for r in rollouts if r.old_log_probs is not None]
    micro = MicroBatch(
        rollouts=list(rollouts),
        prompt_ids=left([r.prompt_ids for r in rollouts], pad_token_id),
        prompt_mask=left([torch.ones_like(r.prompt_ids, dtype=torch.bool) for r in rollouts], False),
        response_ids=right([r.response_ids for r in rollouts], pad_token_id),
        response_mask=right([r.response_mask for r in rollouts], False),
        attention_mask=right([torch.ones_like(r.response_mask) for r in rollouts], False),
        advantages=torch.tensor([r.advantage for r in rollouts], dtype=torch.float32),
        rollout_log_probs=right([r.rollout_log_probs for r in rollouts], 0.0),
        staleness=torch.tensor([version - r.policy_version for r in rollouts]),
        held_out=torch.tensor([r.uses == 0 for r in rollouts]),
        old_log_probs=right(old, 0.0) if len(old) == len(rollouts) else None,
    )
    prefix = micro.prefix_batch().to(device)
    moved: dict[str, Any] = {
        name: to_device(value, device) for name, value in vars(micro).items() if isinstance(value, Tensor)
    }
    return replace(micro, **moved, _prefix_batch=prefix)


def hold_out(micros: Sequence[MicroBatch], *, per_step: int) -> None:
    """Remove from `held_out` the rows of groups that an earlier step of the round trains on.

    The responses to one prompt share a baseline, and often tokens: what one teaches carries over to the others,
    whatever else is learned.

    Args:
        micros: The micro-batches of one pass, in order.
        per_step: Micro-batches per optimizer step.
    """
    seen: set[tuple[int, int]] = set()
    for start in range(0, len(micros), per_step):
        step = micros[start : start + per_step]
        for micro in step:
            new = [(row.policy_version, row.group) not in seen for row in micro.rollouts]
            micro.held_out = micro.held_out & to_device(torch.tensor(new, dtype=torch.bool), micro.held_out.device)
        seen |= {(row.policy_version, row.group) for micro in step for row in micro.rollouts}


def idle_rollout(rollouts: Sequence[Rollout]) -> Rollout:
    """Return a row that is computed but not trained on; a process without rows still takes part in every collective."""
    source = min(rollouts, key=lambda r: r.response_ids.numel())
    return Rollout(
        prompt_ids=source.prompt_ids,
        response_ids=source.response_ids,
        response_mask=torch.zeros_like(source.response_mask),
        rollout_log_probs=torch.zeros_like(source.rollout_log_probs),
        advantage=0.0,
        reward=source.reward,
        group=source.group,
        policy_version=source.policy_version,
        old_log_probs=torch.zeros_like(source.rollout_log_probs),
    )


def cut(rollouts: Sequence[Rollout], parts: int, *, generator: torch.Generator) -> list[list[Rollout]]:
    """Shuffle whole groups and cut the rows into `parts` runs of equal length (within one).

    Fresh and stale groups are spread evenly, so that every part has the same mixture of ages. Groups stay together as
    far as the cut allows, so that their prompt is computed once. There must be at least as many rows as parts.
    """
    newest = max((r.policy_version for r in rollouts), default=0)
    groups: dict[tuple[int, int], list[Rollout]] = {}
    for rollout in rollouts:
        groups.setdefault((rollout.policy_version, rollout.group), []).append(rollout)
    placed: list[tuple[float, list[Rollout]]] = []
    for fresh in (True, False):
        kind = [rows for (version, _), rows in groups.items() if (version == newest) == fresh]
        order = torch.randperm(len(kind), generator=generator).tolist()
        offset = torch.rand((), generator=generator).item()
        placed.extend(((place + offset) / len(kind), kind[index]) for place, index in enumerate(order))
    rows = [rollout for _, group in sorted(placed, key=lambda item: item[0]) for rollout in group]
    bounds = [round(part * len(rows) / parts) for part in range(parts + 1)]
    return [rows[start:end] for start, end in itertools.pairwise(bounds)]
