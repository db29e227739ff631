"""Packing of several short responses to one prompt side by side in one row.

With one row per response, the prompt's keys and values are copied to every response, and attention runs on many small
matrices; on a CPU its backward pass is then the most expensive part of a step. Side by side, the responses read the
prompt's keys and values in place, and a mask keeps them from attending to each other.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from r2vpo.core.log_probs.layout import to_device

MIN_PACKED_TOKENS = 64
"""Response tokens that a row may hold even if its prompt is shorter."""


def responses_per_row(tokens: int, prompt_tokens: int) -> int:
    """Choose how many responses to put in a row.

    Attention between the responses of a row is computed and then masked. That is cheaper than copying the prompt as
    long as the responses of a row together are no longer than the prompt.

    Args:
        tokens: length of a response.
        prompt_tokens: cached positions of a prompt.

    Returns:
        A number of responses, at least 1.
    """
    return max(1, max(MIN_PACKED_TOKENS, prompt_tokens) // tokens)


@dataclass(frozen=True)
class Packing:
    """Assignment of responses to places: M rows of ``slots`` places, each row for one prompt.

    Attributes:
        place: (B,) long, the place of each response among all M * slots.
        group: (M,) long, the prompt of each row.
        slots: places per row.
        row_each: whether every prompt has exactly one row, in order.
    """

    place: Tensor
    group: Tensor
    slots: int
    row_each: bool

    @classmethod
    def of(cls, group_index: Tensor, groups: int, limit: int) -> Self:
        """Put the responses of each prompt into rows of at most ``limit``.

        Args:
            group_index: (B,) long, the prompt of each response, in any order; should be on the host, otherwise its
                device is waited for.
            groups: number of prompts.
            limit: largest number of responses per row.

        Returns:
            The packing, on the host; rows are ordered by prompt.
        """
        index = group_index.tolist()
        counts, ranks = [0] * groups, []
        for group in index:
            ranks.append(counts[group])
            counts[group] += 1
        slots = min(limit, max(counts))
        rows = [-(-count // slots) for count in counts]
        first = list(itertools.accumulate(rows, initial=0))
        place = [
            (first[group] + rank // slots) * slots + rank % slots for group, rank in zip(index, ranks, strict=True)
        ]
        group_of_row = [group for group, count in enumerate(rows) for _ in range(count)]
        return cls(torch.tensor(place), torch.tensor(group_of_row), slots, group_of_row == list(range(groups)))

    def to(self, device: torch.device) -> Self:
        """Copy the packing for tensors on another device."""
        return replace(self, place=to_device(self.place, device), group=to_device(self.group, device))

    def pack(self, values: Tensor) -> Tensor:
        """Lay out (B, N) values as (M, slots * N); empty places hold zeros."""
        packed = values.new_zeros(len(self.group) * self.slots, values.shape[1])
        packed[self.place] = values
        return packed.view(len(self.group), -1)

    def unpack(self, hidden: Tensor) -> Tensor:
        """Extract (B, N, H) values from (M, slots * N, H)."""
        rows, length, width = hidden.shape
        flat = hidden.reshape(rows * self.slots, -1)
        return flat.index_select(0, self.place).view(len(self.place), length // self.slots, width)

    def attention_mask(self, prompt_mask: Tensor, tokens: int) -> Tensor:
        """Mask what each new token may attend to: its prompt, and its own response up to itself.

        Args:
            prompt_mask: (M, L) bool, over the cached positions of each row.
            tokens: new tokens N per place.

        Returns:
            (M, 1, slots * N, L + slots * N) bool.
        """
        length = self.slots * tokens
        index = torch.arange(length, device=prompt_mask.device)
        same_place = index[:, None] // tokens == index[None, :] // tokens
        own = same_place & (index[:, None] >= index[None, :])
        parts = [prompt_mask[:, None, :].expand(-1, length, -1), own.expand(len(prompt_mask), -1, -1)]
        return torch.cat(parts, dim=-1)[:, None]
