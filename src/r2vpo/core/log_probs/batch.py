"""Batches in which each prompt appears once, as input to the forward passes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from r2vpo.core.log_probs.layout import BatchLayout, to_device


@dataclass(frozen=True)
class PrefixBatch:
    """Responses and the prompts that they answer, with each prompt once.

    Attributes:
        prompt_ids: (G, P) long, left-padded token ids of the distinct prompts.
        prompt_mask: (G, P) bool, True on the tokens of a prompt; no row is all False.
        group_index: (B,) long, the row of ``prompt_ids`` that each response answers.
        response_ids: (B, T) long, right-padded token ids.
        response_mask: (B, T) bool, True where a log-probability is wanted. Tokens after a masked token within a
            response (such as a tool's output) still attend to it.
        known_layout: the value of ``layout``, if it is already known.

    Raises:
        ValueError: shapes do not fit, or the batch has no prompt or no response.
    """

    prompt_ids: Tensor
    prompt_mask: Tensor
    group_index: Tensor
    response_ids: Tensor
    response_mask: Tensor
    known_layout: BatchLayout | None = None

    def __post_init__(self) -> None:
        fits = (
            self.prompt_ids.dim() == 2
            and self.prompt_ids.shape == self.prompt_mask.shape
            and self.response_ids.dim() == 2
            and self.response_ids.shape == self.response_mask.shape
            and self.group_index.shape == self.response_ids.shape[:1]
        )
        if not fits:
            shapes = {name: tuple(value.shape) for name, value in self._tensors().items()}
            raise ValueError(f"shapes {shapes} do not fit: prompts are (G, P), responses (B, T), group_index (B,)")

        if 0 in self.prompt_ids.shape or 0 in self.response_ids.shape:
            raise ValueError("a batch needs at least one prompt and one response of at least one token")

    @property
    def layout(self) -> BatchLayout:
        """What has to be known about the batch as plain numbers.

        It is read from the tensors once. That costs nothing if they are on the CPU, and otherwise waits for the device;
        so build a batch on the CPU and move it with ``to``.

        Raises:
            ValueError: a prompt has no token.
        """
        layout = self.known_layout
        if layout is None:
            layout = BatchLayout.of(**self._tensors())
            object.__setattr__(self, "known_layout", layout)
        return layout

    def to(self, device: torch.device) -> Self:
        """Copy the batch to another device, without waiting for it.

        Raises:
            ValueError: a prompt has no token.
        """
        tensors = {name: to_device(value, device) for name, value in self._tensors().items()}
        return type(self)(**tensors, known_layout=self.layout.to(device))

    def _tensors(self) -> dict[str, Tensor]:
        return {name: value for name, value in vars(self).items() if isinstance(value, Tensor)}
