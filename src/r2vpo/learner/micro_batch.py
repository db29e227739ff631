"""Micro-batches: the groups of a round cut into forward and backward passes, each prompt once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.layout import to_device
from r2vpo.core.validation import check_number
from r2vpo.replay.group import Group, Rollout, divide, each_row, rows_of
from r2vpo.replay.packing import pack


@dataclass(frozen=True)
class RoundShape:
    """How the rows of a round are divided.

    Attributes:
        micro_batches: Micro-batches of this process in one pass over the round's rows.
        per_step: Micro-batches per optimizer step; divides `micro_batches`.
        rows: Rows of a forward pass without gradient.
        processes: Number of processes that train together.

    Raises:
        ValueError: A number is below 1, or `per_step` does not divide `micro_batches`.
    """

    micro_batches: int
    per_step: int
    rows: int
    processes: int = 1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            check_number(name, value, at_least=1, remedy="pass a whole number")
        if self.micro_batches % self.per_step:
            raise ValueError(
                f"micro_batches = {self.micro_batches} do not divide into optimizer steps of per_step = "
                f"{self.per_step}: make micro_batches a multiple of it"
            )


@dataclass
class MicroBatch:
    """Rows of one forward and backward pass: B responses, right-padded to T.

    Attributes:
        groups: The groups, or the parts of groups, whose responses these are, in order.
        batch: What the model is given: each distinct prompt once, (G, P), and the responses, (B, T), with a mask that
            is True on every token of a response, including tool results.
        response_mask: (B, T) bool, True on the tokens that are trained on.
        advantages: (B,) float; (B, T), 0 outside the mask and on rows without a score, once a critic has computed them.
        rewards: (B,) float.
        scored: (B,) bool, False on rows that no reward function scored.
        rollout_log_probs: (B, T) nats.
        staleness: (B,) long, versions behind.
        held_out: (B,) bool, True on rows whose baseline no row has that an earlier optimizer step of the round has
            trained on; see `hold_out`.
        normalizer: The global number of tokens (or responses) of this micro-batch's optimizer step.
        old_log_probs: (B, T) nats, the policy's at the start of the round; None if that is the current policy.
        values: V_k, (B, T), the critic's at the start of the round; None without a critic.
        targets: v, (B, T), what its values are trained towards; None without a critic.
        parts: The rows split by whether they need a gradient; None until `in_parts` is called.
    """

    groups: list[Group]
    batch: PrefixBatch
    response_mask: Tensor
    advantages: Tensor
    rewards: Tensor
    scored: Tensor
    rollout_log_probs: Tensor
    staleness: Tensor
    held_out: Tensor
    normalizer: Tensor | None = None
    old_log_probs: Tensor | None = None
    values: Tensor | None = None
    targets: Tensor | None = None
    parts: list[MicroBatchPart] | None = None

    @property
    def rollouts(self) -> list[Rollout]:
        """The rows, unpadded, in order."""
        return rows_of(self.groups)

    @property
    def scored_mask(self) -> Tensor:
        """The tokens from which a critic learns: those that are trained on, of rows with a score; (B, T) bool."""
        return self.response_mask & self.scored[:, None]

    def packed(self) -> dict[str, Any]:
        """Return its rows, its normalizer and what a critic computed; a resumed round builds it again from these."""
        assert self.normalizer is not None, "a round in progress has its normalizers"
        packed = {"rows": pack(self.groups), "normalizer": float(self.normalizer)}
        if self.values is None or self.targets is None:
            return packed
        # Not computed again from the values: the sums over the round could be rounded in another way.
        critic = {"values": self.values, "targets": self.targets, "advantages": self.advantages}
        return packed | {"critic": {name: value.cpu() for name, value in critic.items()}}

    def restored(self, packed: dict[str, Any]) -> MicroBatch:
        """Return these rows with the rest of what `packed` returned."""
        device = self.advantages.device
        critic = {name: value.to(device) for name, value in packed.get("critic", {}).items()}
        return replace(self, normalizer=torch.tensor(packed["normalizer"], device=device), **critic)


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


def collate(groups: Sequence[Group], *, version: int, pad_token_id: int, device: torch.device) -> MicroBatch:
    """Pad groups to one micro-batch; prompts on the left, responses on the right.

    A prompt that several groups share, such as a fresh one and a stale one, is also computed once. Everything is
    assembled on the CPU, where the groups are, and moved once; the device is not queried later.

    Args:
        groups: At least one row.
        version: The present policy version.
        pad_token_id: Id that fills the padding.
        device: Where the model computes.

    Returns:
        The micro-batch, without normalizer. It has `old_log_probs` if all its rows have them.
    """
    rows = rows_of(groups)
    places: dict[tuple[int, ...], int] = {}
    index = each_row(groups, lambda group: places.setdefault(tuple(group.prompt_ids.tolist()), len(places)))
    prompts = [torch.tensor(prompt, dtype=torch.long) for prompt in places]

    def right(tensors: list[Tensor], value: float) -> Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=value)

    def left(tensors: list[Tensor], value: float) -> Tensor:
        return pad_sequence(tensors, batch_first=True, padding_value=value, padding_side="left")

    old = [row.old_log_probs for row in rows if row.old_log_probs is not None]
    micro = MicroBatch(
        groups=list(groups),
        batch=PrefixBatch(
            prompt_ids=left(prompts, pad_token_id),
            prompt_mask=left([torch.ones_like(prompt, dtype=torch.bool) for prompt in prompts], False),
            group_index=torch.tensor(index),
            response_ids=right([row.response_ids for row in rows], pad_token_id),
            response_mask=right([torch.ones_like(row.response_mask) for row in rows], False),
        ).to(device),
        response_mask=right([row.response_mask for row in rows], False),
        advantages=torch.tensor([row.advantage for row in rows], dtype=torch.float32),
        rewards=torch.tensor([row.reward for row in rows], dtype=torch.float32),
        scored=torch.tensor([row.scored for row in rows]),
        rollout_log_probs=right([row.rollout_log_probs for row in rows], 0.0),
        staleness=torch.tensor(each_row(groups, lambda group: group.staleness(version))),
        held_out=torch.tensor(each_row(groups, lambda group: group.uses == 0)),
        old_log_probs=right(old, 0.0) if len(old) == len(rows) else None,
    )
    moved: dict[str, Any] = {
        name: to_device(value, device) for name, value in vars(micro).items() if isinstance(value, Tensor)
    }
    return replace(micro, **moved)


def cut(groups: Sequence[Group], parts: int, *, generator: torch.Generator) -> list[list[Group]]:
    """Shuffle the baselines and cut their rows into `parts` runs of equal length (within one).

    Fresh and stale groups are spread evenly, so that every part has the same mixture of ages. The rows of a baseline
    stay together as far as the cut allows: a group's prompt is then computed once, and most rows are held out until
    their own step; see `hold_out`.

    Args:
        groups: At least as many rows as parts.
        parts: Number of micro-batches.
        generator: Random state of the shuffle.

    Returns:
        The groups of each part; a group that is divided is in two or more of them.
    """
    newest = max((group.policy_version for group in groups), default=0)
    of_baseline: dict[int | None, list[Group]] = {}
    for group in groups:
        of_baseline.setdefault(group.baseline, []).append(group)
    placed: list[tuple[float, list[Group]]] = []
    for fresh in (True, False):
        kind = [some for some in of_baseline.values() if any(one.policy_version == newest for one in some) == fresh]
        order = torch.randperm(len(kind), generator=generator).tolist()
        offset = torch.rand((), generator=generator).item()
        placed.extend(((place + offset) / len(kind), kind[index]) for place, index in enumerate(order))
    ordered = [group for _, together in sorted(placed, key=lambda item: item[0]) for group in together]
    rows = sum(map(len, ordered))
    return divide(ordered, [round(part * rows / parts) for part in range(parts + 1)])


def hold_out(micros: Sequence[MicroBatch], *, per_step: int) -> None:
    """Remove from `held_out` the rows that share their baseline with a row that an earlier step of the round trains on.

    The advantage that the earlier row was trained with contains the later one's reward, through the baseline, and
    responses to one prompt often share tokens: what one teaches carries over to the others, whatever else is learned.

    Args:
        micros: The micro-batches of one pass, in order.
        per_step: Micro-batches per optimizer step.
    """
    first_step: dict[int | None, int] = {}
    for place, micro in enumerate(micros):
        step, baselines = place // per_step, each_row(micro.groups, lambda group: group.baseline)
        new = torch.tensor([first_step.setdefault(baseline, step) == step for baseline in baselines])
        micro.held_out = micro.held_out & to_device(new, micro.held_out.device)


def in_parts(micro: MicroBatch, *, pad_token_id: int, processes: int) -> list[MicroBatchPart]:
    """Split the rows into those with an advantage, which need a gradient, and those without, which need none.

    Every micro-batch has a part with a gradient, and with several processes both parts. If there is no such row, an
    idle row takes its place, so that all processes run the same number of forward passes.

    Args:
        micro: B rows.
        pad_token_id: Id that fills the padding.
        processes: Number of processes that train together.

    Returns:
        The rows with an advantage, then those without.
    """
    parts = []
    device = micro.advantages.device
    for trained in (True, False):
        places = [place for place, row in enumerate(micro.rollouts) if (row.advantage != 0) == trained]
        if not places and not trained and processes == 1:
            continue
        chosen = [
            group.of([row for row in group.rollouts if (row.advantage != 0) == trained]) for group in micro.groups
        ]
        groups = [group for group in chosen if len(group)] or [idle_group(micro.groups)]
        part = collate(groups, version=groups[0].policy_version, pad_token_id=pad_token_id, device=device)
        parts.append(MicroBatchPart(part, torch.tensor(places, dtype=torch.long, device=device), trained))
    return parts


def placed(whole: Tensor, places: Tensor, part: Tensor) -> Tensor:
    """Write the rows of a part into a whole micro-batch's.

    Args:
        whole: (B, T).
        places: (b,) long, rows of the whole; empty for an idle row, which adds its graph but no number.
        part: (b, t) with t at most T, or (1, t) for an idle row.

    Returns:
        (B, T); gradient flows into both.
    """
    if len(places) == 0:
        return whole + 0.0 * part.sum()
    padded = torch.nn.functional.pad(part, (0, whole.shape[1] - part.shape[1]))
    return whole.index_copy(0, places, padded.to(whole.dtype))


def idle_group(groups: Sequence[Group]) -> Group:
    """Return a row that is computed but not trained on; a process without rows still takes part in every collective."""
    group, row = min(
        ((group, row) for group in groups for row in group.rollouts), key=lambda pair: pair[1].response_ids.numel()
    )
    nothing = torch.zeros_like(row.rollout_log_probs)
    idle = Rollout(row.response_ids, torch.zeros_like(row.response_mask), nothing, 0.0, row.reward, nothing.clone())
    return replace(group, rollouts=[idle], uses=0)


def set_normalizers(
    micros: Sequence[MicroBatch], *, per_step: int, by_tokens: bool, total: Callable[[Tensor], Tensor]
) -> None:
    """Count the tokens (or responses) of each optimizer step over all processes.

    Args:
        micros: The round's micro-batches in order.
        per_step: Micro-batches per optimizer step; divides `len(micros)`.
        by_tokens: Count tokens if true, otherwise responses.
        total: Function that sums a tensor over all processes.
    """
    masks = [micro.response_mask for micro in micros]
    counts = [mask.sum() if by_tokens else mask.any(dim=1).sum() for mask in masks]
    windows = torch.stack([torch.stack(counts[i : i + per_step]).sum() for i in range(0, len(micros), per_step)])
    totals = total(windows.float()).clamp(min=1.0)
    for index, micro in enumerate(micros):
        micro.normalizer = totals[index // per_step]
