"""A key/value cache that is written in place while tokens are generated.

The usual cache concatenates: every token copies everything before it, so the copying for a long response grows with the
square of its length.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor
from transformers.cache_utils import DynamicLayer

BLOCK = 64
"""Positions by which a full buffer grows."""


class GrowingLayer(DynamicLayer):
    """Keys and values of one layer, as views of buffers with room for further tokens.

    Args:
        layer: the layer to take the keys and values from.
        index: (B,) long, the row of ``layer`` that each row of this one starts from.
        room: free positions after the filled ones when a buffer is made.
    """

    # A layer of transformers holds None here before its first update; this one never does.
    keys: Tensor
    values: Tensor

    def __init__(self, layer: Any, index: Tensor, room: int):
        super().__init__()  # type: ignore[no-untyped-call]  # transformers does not annotate it
        self._room = room
        self.dtype, self.device, self.is_initialized = layer.keys.dtype, layer.keys.device, True
        self.keys, self.values = layer.keys, layer.values
        self.select(index)

    def select(self, index: Tensor) -> None:
        """Replace row i by the previous row ``index[i]``, with room after the filled positions.

        Args:
            index: (B,) long.
        """
        self._key_buffer = _buffer(self.keys, index, self._room)
        self._value_buffer = _buffer(self.values, index, self._room)
        self._show(self.keys.shape[-2])

    def update(self, key_states: Tensor, value_states: Tensor, *_: Any, **__: Any) -> tuple[Tensor, Tensor]:
        """Write the new positions after the filled ones and return all filled positions."""
        filled = self.keys.shape[-2]
        length = filled + key_states.shape[-2]
        if length > self._key_buffer.shape[-2]:
            self._key_buffer = _grown(self._key_buffer, filled, length)
            self._value_buffer = _grown(self._value_buffer, filled, length)
        self._key_buffer[:, :, filled:length] = key_states
        self._value_buffer[:, :, filled:length] = value_states
        self._show(length)
        return self.keys, self.values

    def _show(self, length: int) -> None:
        self.keys, self.values = self._key_buffer[:, :, :length], self._value_buffer[:, :, :length]


def grow_from(cache: Any, index: Tensor, tokens: int) -> None:
    """Expand a prompt cache to the rows of its samples, and make it writable in place.

    Args:
        cache: a cache of ordinary attention layers; its ``layers`` are replaced.
        index: (B,) long, the row of the cache that each sample starts from.
        tokens: the largest number of tokens that will follow; short responses do not need a whole block.
    """
    cache.layers = [GrowingLayer(layer, index, min(tokens, BLOCK)) for layer in cache.layers]


def _buffer(states: Tensor, index: Tensor, room: int) -> Tensor:
    _, heads, length, width = states.shape
    buffer = states.new_empty(len(index), heads, length + room, width)
    buffer[:, :, :length] = states.index_select(0, index)
    return buffer


def _grown(buffer: Tensor, filled: int, length: int) -> Tensor:
    rows, heads, _, width = buffer.shape
    grown = buffer.new_empty(rows, heads, length + BLOCK, width)
    grown[:, :, :filled] = buffer[:, :, :filled]
    return grown
