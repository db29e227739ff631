"""Attention of one new token per row, with the query heads of each key/value head grouped.

If nothing is masked, transformers passes one query token with fewer key/value heads to torch unchanged; on a CPU in
bfloat16 that took five to seven times as long (8 rows, 9 heads on 3, 150 to 600 positions: 0.7 to 2.7 ms against 0.1 to
0.4 ms, two cores). All heads of a group attend to the same positions, so they can be passed as query tokens.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

NAME = "r2vpo_grouped"


def grouped_attention(
    module: Any,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    scaling: float | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """Do the same as transformers' "sdpa", except for one query token without a mask.

    Args:
        module: The attention layer.
        query: (B, H, N, D).
        key: (B, K, L, D), H a multiple of K.
        value: (B, K, L, D).
        attention_mask: As for "sdpa".
        scaling: Factor of the scores; None for D^-1/2.
        **kwargs: As for "sdpa".

    Returns:
        (B, N, H, D), and None for the weights.
    """
    rows, heads, tokens, width = query.shape
    if tokens != 1 or attention_mask is not None or heads == key.shape[1]:
        return sdpa_attention_forward(module, query, key, value, attention_mask, scaling=scaling, **kwargs)
    grouped = query.reshape(rows, key.shape[1], heads // key.shape[1], width)
    output = scaled_dot_product_attention(grouped, key, value, scale=scaling)
    return output.reshape(rows, 1, heads, width), None


AttentionInterface.register(NAME, grouped_attention)
AttentionMaskInterface.register(NAME, sdpa_mask)


@contextmanager
def grouped_decoding(decoder: Any) -> Iterator[None]:
    """Context manager in which a decoder with "sdpa" on a CPU uses `grouped_attention`; other decoders do not change.

    This applies only if the class declares that it takes any registered attention: other classes look at the name, and
    behave differently under a name that they do not know.

    Args:
        decoder: The backbone that tokens are run through.
    """
    config = decoder.config
    takes_any = getattr(decoder, "_supports_attention_backend", False)
    if config._attn_implementation != "sdpa" or not takes_any or next(decoder.parameters()).device.type != "cpu":
        yield
        return
    config._attn_implementation = NAME
    try:
        yield
    finally:
        config._attn_implementation = "sdpa"
