"""An output layer that computes in float32, whatever dtype the rest of the model uses."""

from __future__ import annotations

import types
from typing import Any

import torch
from torch import Tensor, nn


def compute_head_in_float32(base: Any) -> None:
    """Give a model's output layer float32 weights, and make it multiply in float32 even under autocast.

    Everything that calls the layer then gets the same logits; the change also carries over to a deep copy. Embeddings
    that are tied to the layer still return the dtype of the other weights. Calling this twice changes nothing.

    Args:
        base: a causal language model, without wrappers.

    Raises:
        ValueError: its output layer is not a plain linear layer.

    Source:
        TRL's ``cast_lm_head_to_fp32``, which names the layers of Llama, and whose layer is still lowered by autocast.
    """
    head = base.get_output_embeddings()
    if not is_plain_linear(head):
        raise ValueError(
            f"the output layer is a {type(head).__name__}, not a plain linear layer: take it out of the adapter's "
            "target_modules and modules_to_save, or leave cast_lm_head_to_fp32 at False"
        )
    if computes_in_float32(head):
        return
    embeddings = base.get_input_embeddings()
    tied = embeddings is not None and getattr(embeddings, "weight", None) is head.weight
    if tied and head.weight.dtype != torch.float32:
        embeddings.register_forward_hook(types.MethodType(_as_the_others, base))
    head.float()
    _forward._r2vpo_float32 = True  # type: ignore[attr-defined]
    head.forward = types.MethodType(_forward, head)


def is_plain_linear(head: Any) -> bool:
    """Tell whether a layer multiplies by its weights and does nothing else, as subclasses of `nn.Linear` may."""
    return isinstance(head, nn.Linear) and type(head).forward is nn.Linear.forward


def computes_in_float32(head: Any) -> bool:
    """Tell whether ``compute_head_in_float32`` was called for an output layer."""
    return getattr(getattr(head.__dict__.get("forward"), "__func__", None), "_r2vpo_float32", False)


def _forward(self: Any, hidden: Tensor) -> Tensor:
    bias = None if self.bias is None else self.bias.float()
    with torch.autocast(hidden.device.type, enabled=False):
        return nn.functional.linear(hidden.float(), self.weight.float(), bias)


def _as_the_others(self: Any, embeddings: Any, args: Any, output: Tensor) -> Tensor:
    """Hook of the embeddings, bound to the model, so that a deep copy looks at its own weights."""
    others = (p.dtype for p in self.parameters() if p is not embeddings.weight and p.is_floating_point())
    return output.to(next(others, output.dtype))
