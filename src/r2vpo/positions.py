"""Determine how many tokens a model can take."""

from __future__ import annotations

from typing import Any

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
"""Configuration keys of the longest sequence; most other names are aliases of `max_position_embeddings`."""
_TOWERS = ("vision", "visual", "image", "audio")
"""Parts of a multimodal model that have separate positions."""
_EXTENDING = ("linear", "dynamic", "yarn")
"""Rope types whose factor extends a model beyond its configured length, which already includes other types."""


def position_limit(model: Any) -> int | None:
    """Return the most tokens that a model can take, prompt and answer together.

    Position tables end there. Rotary and sinusoidal positions can be computed beyond it, but the model was not
    trained on them, unless its configuration declares a stretched rope.

    Args:
        model: a causal language model; its parameters may be on the meta device.

    Returns:
        The number of tokens; None for a model without positions (recurrent layers, ALiBi) or without a declared limit.
    """
    from torch import nn  # listing rewards must not import torch

    config = model.config.get_text_config(decoder=True)
    declared = next((n for name in _LIMITS if isinstance(n := getattr(config, name, None), int) and n > 0), None)
    if getattr(config, "alibi", False) is True:
        return None
    embeddings, tables, computed = model.get_input_embeddings(), [], False
    for name, module in model.named_modules():
        if any(tower in name for tower in _TOWERS):
            continue
        last, kind = name.rpartition(".")[2].lower(), type(module).__name__.lower()
        placed = last in ("wpe", "pos") or "position" in last or "pos_" in last
        if isinstance(module, nn.Embedding) and placed and module is not embeddings:
            # RoBERTa numbers its positions from the one after its padding token.
            tables.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
        buffers = (buffer.lower() for buffer, _ in module.named_buffers(recurse=False))
        computed |= "rotary" in kind or "rope" in kind or "position" in kind
        computed |= any("inv_freq" in buffer or "embed_pos" in buffer or "pos_enc" in buffer for buffer in buffers)
    if tables:
        return min(tables if declared is None else [declared, *tables])
    # MPT's ALiBi table has as many positions as its configuration says.
    if declared is None or not (computed or getattr(config, "max_seq_len", None) == declared):
        return None
    return max(declared, _stretched(config, declared))


def _stretched(config: Any, declared: int) -> int:
    """Return the length to which rope is declared to be stretched; 0 if it is not stretched."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [settings, *(inner for inner in settings.values() if isinstance(inner, dict))]
    lengths = [
        int(float(kind.get("factor") or 1.0) * (kind.get("original_max_position_embeddings") or declared))
        for kind in kinds
        if kind.get("rope_type", kind.get("type")) in _EXTENDING
    ]
    return max(lengths, default=0)
