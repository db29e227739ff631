"""What a forward pass has to know about its batch as plain numbers, read on the host before it runs.

Reading a number from a tensor on an accelerator (``.item()``, ``nonzero()``, a comparison in an ``if``) makes the host
wait until the device has finished all its queued work. The batches of a trainer and the prompts of a sampler start on
the host, so all of these numbers are known there.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor


def to_device(tensor: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor to a device, without waiting for it if the backend allows that.

    Args:
        tensor: a tensor on any device.
        device: the device to copy it to.

    Returns:
        The copy, or the tensor itself if it is already there.
    """
    if device.type != "cuda" or tensor.device.type != "cpu":
        return tensor.to(device)
    # Memory that is not pinned is copied only after all work that the device still has to do.
    return tensor.pin_memory().to(device, non_blocking=True)


def on_host(*tensors: Tensor) -> tuple[Tensor, ...]:
    """Copy integer tensors to the host together: with a single wait, and none if they are already there.

    Args:
        tensors: bool or long, all on one device.

    Returns:
        The same values on the CPU, converted to long if they were elsewhere.
    """
    if all(tensor.device.type == "cpu" for tensor in tensors):
        return tensors
    flat = torch.cat([tensor.reshape(-1).long() for tensor in tensors]).cpu()
    pieces = torch.split(flat, [tensor.numel() for tensor in tensors])
    return tuple(piece.view(tensor.shape) for piece, tensor in zip(pieces, tensors, strict=True))


@dataclass(frozen=True)
class PromptLayout:
    """The lengths of prompts, and the length of their common start.

    Attributes:
        lengths: tokens of each prompt.
        common: tokens that start every prompt, leaving at least one further token in each; 0 for a single prompt.
    """

    lengths: tuple[int, ...]
    common: int

    @property
    def longest(self) -> int:
        """Tokens of the longest prompt."""
        return max(self.lengths)

    @property
    def padded(self) -> bool:
        """Whether any prompt is shorter than another."""
        return min(self.lengths) < self.longest

    @classmethod
    def of(cls, prompts: Sequence[list[int]]) -> Self:
        """Describe prompts without padding.

        Args:
            prompts: token ids of each.

        Raises:
            ValueError: a prompt has no token.
        """
        lengths = tuple(map(len, prompts))
        for number, length in enumerate(lengths):
            if not length:
                raise ValueError(f"prompt {number} has no token: give every prompt at least one")
        common = 0
        if len(prompts) > 1:
            # A common start of the first and the last prompt in lexicographic order is common to all in between.
            pairs = zip(min(prompts), max(prompts), strict=False)
            common = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        return cls(lengths, min(common, min(lengths) - 1))

    @classmethod
    def of_padded(cls, prompt_ids: Tensor, prompt_mask: Tensor) -> Self:
        """Describe left-padded prompts, which waits for their device once.

        Args:
            prompt_ids: (G, P) long.
            prompt_mask: (G, P) bool or 0/1.

        Raises:
            ValueError: a prompt has no token.
        """
        ids, mask = (values.tolist() for values in on_host(prompt_ids, prompt_mask))
        return cls.of([row[len(row) - sum(seen) :] for row, seen in zip(ids, mask, strict=True)])


@dataclass(frozen=True)
class BatchLayout:
    """The positions of the tokens in a batch of responses.

    Attributes:
        prompts: layout of the distinct prompts.
        group_index: (B,) long, the prompt of each response, on the host.
        reach: columns up to the last unmasked token of each response; 0 if there is none.
        rows: (N,) long, the response of each unmasked token, in order; on the batch's device.
        columns: (N,) long, the position of each unmasked token in its response; on the batch's device.
        targets: the smallest and the largest id of the unmasked tokens, or None if there are none.
    """

    prompts: PromptLayout
    group_index: Tensor
    reach: tuple[int, ...]
    rows: Tensor
    columns: Tensor
    targets: tuple[int, int] | None

    @property
    def used(self) -> int:
        """Columns up to the last unmasked token of any response, at least 1."""
        return max(1, *self.reach)

    @property
    def prompt_lengths(self) -> list[int]:
        """Tokens of each response's prompt."""
        return [self.prompts.lengths[group] for group in self.group_index.tolist()]

    @classmethod
    def of(
        cls, prompt_ids: Tensor, prompt_mask: Tensor, group_index: Tensor, response_ids: Tensor, response_mask: Tensor
    ) -> Self:
        """Describe a batch, which waits for its device once, or not at all on the CPU.

        Args:
            prompt_ids: (G, P) long, left-padded.
            prompt_mask: (G, P) bool or 0/1.
            group_index: (B,) long.
            response_ids: (B, T) long.
            response_mask: (B, T) bool or 0/1.

        Raises:
            ValueError: a prompt has no token.
        """
        device, width = response_ids.device, response_ids.shape[1]
        host_prompts, host_mask, groups, responses, wanted = on_host(
            prompt_ids, prompt_mask, group_index, response_ids, response_mask
        )
        # Plain lists are used because tensors of this size are slower, and counting their True values is what has to be
        # avoided.
        places = list(itertools.compress(range(wanted.numel()), wanted.reshape(-1).tolist()))
        ids = list(itertools.compress(responses.reshape(-1).tolist(), wanted.reshape(-1).tolist()))
        columns = [place % width for place in places]
        # Places are in order, so the last one of each response remains.
        reach = [0] * len(responses)
        for place in places:
            reach[place // width] = place % width + 1
        return cls(
            PromptLayout.of_padded(host_prompts, host_mask),
            groups,
            tuple(reach),
            to_device(torch.tensor([place // width for place in places], dtype=torch.long), device),
            to_device(torch.tensor(columns, dtype=torch.long), device),
            (min(ids), max(ids)) if ids else None,
        )

    def to(self, device: torch.device) -> Self:
        """Copy the layout for a batch on another device."""
        return replace(self, rows=to_device(self.rows, device), columns=to_device(self.columns, device))
