"""How many tokens a model can be given."""

from __future__ import annotations

from typing import Any

_LIMITS = ("max_position_embeddings", "n_positions", "max_seq_len", "max_sequence_length", "seq_length", "n_ctx")
"""Names of the longest sequence in configurations; `max_position_embeddings` stands for most others by itself."""
_TOWERS = ("vision", "visual", "image", "audio")
"""Parts of a model of several kinds of input that have positions of their own."""
_EXTENDING = ("linear", "dynamic", "yarn")
"""Types of rope whose factor makes a model longer than its configuration's number says; the others are counted in."""


def position_limit(model: Any) -> int | None:
    """Return the most tokens that a model can be given, prompt and answer together.

    Tables of positions end there. Rotary and sinusoidal positions can be computed beyond it, but the model was not
    trained on them, unless its rope is declared to be stretched.

    Args:
        model: a causal language model; its parameters may lie on the meta device.

    Returns:
        The number of tokens; None for a model without positions (recurrent layers, ALiBi), or that declares none.
    """
    from torch import nn  # the lists of rewards are read without torch

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
            # RoBERTa numbers its positions from the one behind its padding token.
            tables.append(module.num_embeddings - (0 if module.padding_idx is None else module.padding_idx + 1))
        buffers = (buffer.lower() for buffer, _ in module.named_buffers(recurse=False))
        computed |= "rotary" in kind or "rope" in kind or "position" in kind
        computed |= any("inv_freq" in buffer or "embed_pos" in buffer or "pos_enc" in buffer for buffer in buffers)
    if tables:
        return min(tables if declared is None else [declared, *tables])
    # MPT's table of ALiBi has as many places as its configuration says.
    if declared is None or not (computed or getattr(config, "max_seq_len", None) == declared):
        return None
    return max(declared, _stretched(config, declared))


def _stretched(config: Any, declared: int) -> int:
    """The length that rope is declared to be stretched to; 0 where it is not."""
    settings = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    kinds = [settings, *(inner for inner in settings.values() if isinstance(inner, dict))]
    lengths = [
        int(float(kind.get("factor") or 1.0) * (kind.get("original_max_position_embeddings") or declared))
        for kind in kinds
        if kind.get("rope_type", kind.get("type")) in _EXTENDING
    ]
    return max(lengths, default=0)
