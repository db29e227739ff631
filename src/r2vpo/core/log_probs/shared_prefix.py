"""Hidden states of responses, with every prompt, and the start that all prompts share, computed once.

The samples of a group have the same prompt. A causal model computes the same keys and values for it in every row, so
they are computed in one row and expanded; gradient flows back through the expansion, which adds up the gradients of the
rows. A system prompt or worked examples at the start of every prompt of the batch form one more level::

    common start (1, C)  ->  prompt tails (G, P - C)  ->  responses (B, T - 1)

Positions come from the mask at every level, because under left padding an index is not a position.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache as cached
from typing import Any

import torch
from torch import Tensor, nn

from r2vpo.core.log_probs.batch import PrefixBatch
from r2vpo.core.log_probs.layout import PromptLayout
from r2vpo.core.log_probs.packing import Packing, responses_per_row

MIN_COMMON_TOKENS = 8
"""A separate pass over a shared start shorter than this costs more than it saves."""
ONE_PASS_TOKENS = 64
"""A prompt and all of its responses take a single pass over the model if their row has at most this many tokens:
starting a second pass costs more than computing the masked attention."""


@dataclass(frozen=True)
class PromptStates:
    """What the tokens that follow the prompts need from them.

    Attributes:
        last_hidden: (G, H) hidden state of each prompt's last token, which predicts the first response token.
        cache: keys and values of the G prompts, as returned by the backbone.
        mask: (G, L) bool, True on the cached positions that hold a token.
        padded: whether the mask is False anywhere.
    """

    last_hidden: Tensor
    cache: Any
    mask: Tensor
    padded: bool


def shared_prefix_hidden_states(backbone: Any, batch: PrefixBatch, *, share_common: bool = True) -> Tensor:
    """Compute the hidden states that predict the response tokens, each prompt computed once.

    Args:
        backbone: a decoder-only transformer without its output layer, called as ``backbone(input_ids=...,
            attention_mask=..., position_ids=..., past_key_values=..., use_cache=True)`` and returning
            ``last_hidden_state`` and ``past_key_values``; gradient flows to its parameters.
        batch: prompts and responses.
        share_common: also compute the tokens that start every prompt only once, if that saves enough.

    Returns:
        (B, T, H) hidden states in the backbone's dtype; entry t is the state that predicts response token t.
        Entries after a response's end are meaningless.

    Raises:
        ValueError: a prompt has no token.
    """
    layout, inputs = batch.layout.prompts, batch.response_ids[:, :-1]
    tokens, packing = inputs.shape[1], None
    if tokens and _takes_block_mask(backbone):
        limit = responses_per_row(tokens, layout.longest)
        if limit > 1:
            packing = Packing.of(batch.layout.group_index, len(layout.lengths), limit).to(inputs.device)
    common = layout.common if share_common and layout.common >= MIN_COMMON_TOKENS else 0
    if packing is not None and not common and _short(packing, layout.longest, tokens):
        return _one_pass(backbone, batch, inputs, packing)
    prompts = prompt_states(backbone, batch.prompt_ids, batch.prompt_mask, share_common=share_common, layout=layout)
    first = prompts.last_hidden.index_select(0, batch.group_index).unsqueeze(1)
    if not tokens:
        return first
    if packing is None:
        following = _row_each(backbone, inputs, batch.group_index, prompts)
    else:
        following = _side_by_side(backbone, inputs, packing, prompts)
    return torch.cat([first, following], dim=1)


def _short(packing: Packing, prompt: int, tokens: int) -> bool:
    """Tell whether a prompt and all of its responses fit in a row so short that one pass is cheaper than two."""
    return packing.row_each and prompt + packing.slots * tokens <= ONE_PASS_TOKENS


def _one_pass(backbone: Any, batch: PrefixBatch, inputs: Tensor, packing: Packing) -> Tensor:
    """Do the same as `shared_prefix_hidden_states`, with a prompt and all of its responses in one row."""
    tokens, longest = inputs.shape[1], batch.layout.prompts.longest
    prompt_mask = batch.prompt_mask[:, -longest:].bool()
    ids = torch.cat([batch.prompt_ids[:, -longest:], packing.pack(inputs)], dim=1)
    following = prompt_mask.sum(1, keepdim=True) + torch.arange(tokens, device=ids.device).repeat(packing.slots)
    above = torch.nn.functional.pad(_pairs(prompt_mask, longest), (0, packing.slots * tokens))
    hidden = backbone(
        input_ids=ids,
        attention_mask=torch.cat([above, packing.attention_mask(prompt_mask, tokens)], dim=2),
        position_ids=torch.cat([_positions(prompt_mask), following], dim=1),
        use_cache=False,
    ).last_hidden_state
    first = hidden[:, longest - 1].index_select(0, batch.group_index).unsqueeze(1)
    return torch.cat([first, packing.unpack(hidden[:, longest:])], dim=1)


def _row_each(backbone: Any, inputs: Tensor, group_index: Tensor, prompts: PromptStates) -> Tensor:
    """Compute hidden states of (B, N) response tokens, each response in a row with a copy of its prompt's cache."""
    select_rows(prompts.cache, group_index)
    mask = None
    if prompts.padded:
        # Padding comes after the response, where none of its tokens attends: that part of the mask can be all True.
        seen = prompts.mask.index_select(0, group_index)
        mask = torch.cat([seen, torch.ones_like(inputs, dtype=torch.bool)], dim=1)
    return extend(backbone, inputs, mask, prompts.cache)[0]


def _side_by_side(backbone: Any, inputs: Tensor, packing: Packing, prompts: PromptStates) -> Tensor:
    """Compute hidden states of (B, N) response tokens, with several responses to a prompt in a row."""
    tokens = inputs.shape[1]
    if not packing.row_each:
        select_rows(prompts.cache, packing.group)
    prompt_mask = prompts.mask.index_select(0, packing.group)
    position = prompt_mask.sum(1, keepdim=True) + torch.arange(tokens, device=inputs.device).repeat(packing.slots)
    mask = packing.attention_mask(prompt_mask, tokens)
    hidden, _ = run(backbone, packing.pack(inputs), mask, position, prompts.cache)
    return packing.unpack(hidden)


def _takes_block_mask(backbone: Any) -> bool:
    """Tell whether attention takes a boolean (B, 1, N, L + N) mask; other implementations and alibi build their own."""
    config = getattr(backbone, "config", None)
    return getattr(config, "_attn_implementation", None) == "sdpa" and not getattr(config, "alibi", False)


def prompt_states(
    backbone: Any,
    prompt_ids: Tensor,
    prompt_mask: Tensor,
    *,
    share_common: bool = True,
    layout: PromptLayout | None = None,
) -> PromptStates:
    """Run the model on the prompts, and only once on the start that all of them share.

    Args:
        backbone: as in ``shared_prefix_hidden_states``.
        prompt_ids: (G, P) long, left-padded.
        prompt_mask: (G, P) bool.
        share_common: compute the common start of all prompts in one row, if that saves enough.
        layout: layout of these prompts; None reads it from the tensors, which waits for their device.

    Returns:
        The prompts' last hidden states and their cache, with the cache's mask.

    Raises:
        ValueError: a prompt has no token.
    """
    layout = PromptLayout.of_padded(prompt_ids, prompt_mask) if layout is None else layout
    longest, padded = layout.longest, layout.padded
    prompt_ids, prompt_mask = prompt_ids[:, -longest:], prompt_mask[:, -longest:].bool()
    common = layout.common if share_common else 0
    if common < MIN_COMMON_TOKENS:
        hidden, cache = extend(backbone, prompt_ids, prompt_mask if padded else None, None)
        return PromptStates(hidden[:, -1], cache, prompt_mask, padded)
    start = prompt_ids[:1, longest - layout.lengths[0] :][:, :common]
    _, cache = extend(backbone, start, None, None)
    select_rows(cache, prompt_ids.new_zeros(len(prompt_ids)))
    # The first `common` tokens of every prompt are removed. Rows are aligned at their ends, so the tails are the last
    # `longest - common` columns, and a shorter prompt has its padding between the common start and its tail.
    position = _positions(prompt_mask)[:, common:]
    tail_mask = prompt_mask[:, common:] & (position >= common)
    mask = torch.cat([tail_mask.new_ones(len(prompt_ids), common), tail_mask], dim=1)
    hidden, cache = extend(backbone, prompt_ids[:, common:], mask if padded else None, cache)
    return PromptStates(hidden[:, -1], cache, mask, padded)


def extend(backbone: Any, input_ids: Tensor, mask: Tensor | None, cache: Any) -> tuple[Tensor, Any]:
    """Run the model on new tokens on top of a cache.

    Args:
        backbone: as in ``shared_prefix_hidden_states``.
        input_ids: (B, N) long, the new tokens.
        mask: (B, L + N) bool, over the cached and the new positions; None if all of them hold a token.
        cache: keys and values of L positions, or None for L = 0.

    Returns:
        (B, N, H) hidden states of the new tokens, and the cache with them.
    """
    rows, new = input_ids.shape
    if mask is None:
        past = cache.get_seq_length() if cache is not None else 0
        position = torch.arange(past, past + new, device=input_ids.device).expand(rows, -1)
    else:
        position = _positions(mask)[:, -new:]
    return run(backbone, input_ids, attention_mask(backbone, mask, new), position, cache)


def attention_mask(backbone: Any, mask: Tensor | None, new: int) -> Tensor | None:
    """Build the mask of a backbone's new tokens in a form that need not be inspected.

    transformers checks whether a mask over positions is True throughout, and waits for the answer. It uses no mask, or
    a mask over pairs of positions, as given, with the same results.

    Args:
        backbone: as in ``shared_prefix_hidden_states``.
        mask: (B, L + N) bool over the positions, or None.
        new: N, the number of new positions at the end.

    Returns:
        None if the mask is None, (B, 1, N, L + N) bool if attention takes that, else (B, L + N) long.
    """
    if mask is None:
        return None
    if not _takes_block_mask(backbone):
        return mask.long()
    return _pairs(mask, new)


def run(backbone: Any, input_ids: Tensor, mask: Tensor | None, position_ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
    """Call the backbone and make sure that it kept the keys and values that it computed.

    Args:
        backbone: as in ``shared_prefix_hidden_states``.
        input_ids: (B, N) long, the new tokens.
        mask: (B, L + N) over the positions, (B, 1, N, L + N) bool over pairs of them, or None for all positions.
        position_ids: (B, N) long.
        cache: keys and values of L positions, or None for L = 0.

    Returns:
        (B, N, H) hidden states of the new tokens, and the cache with them.

    Raises:
        ValueError: the backbone did not keep the keys and values of all tokens.
    """
    whole = input_ids.shape[1] + (cache.get_seq_length() if cache is not None else 0)
    name = cache_argument(backbone) or "past_key_values"
    output = backbone(
        input_ids=input_ids, attention_mask=mask, position_ids=position_ids, use_cache=True, **{name: cache}
    )
    after = getattr(output, name)
    kept = after.get_seq_length() if after is not None else 0
    if kept != whole:
        # Gradient checkpointing does this with only a warning, and the responses would not see their prompt.
        raise ValueError(
            f"the model kept {kept} of {whole} positions in its cache: turn gradient checkpointing "
            "off, or use the ordinary forward for a model whose cache drops positions"
        )
    return output.last_hidden_state, after


def cache_argument(decoder: nn.Module) -> str | None:
    """Return what a decoder calls its keys and values, in its arguments and its output; None if it has none.

    Args:
        decoder: A model of transformers, which has renamed the argument in version 5.24.
    """
    return _cache_argument(type(decoder).forward)


@cached
def _cache_argument(forward: Callable[..., Any]) -> str | None:
    named = inspect.signature(forward).parameters
    return next((name for name in ("past_key_values", "cache") if name in named), None)


def select_rows(cache: Any, index: Tensor) -> None:
    """Replace row i of the cache by its previous row ``index[i]``, out of place for autograd.

    Args:
        cache: keys and values; its tensors are replaced, not written to.
        index: (B,) long, rows of the cache; a row may appear any number of times.
    """
    for layer in cache.layers:
        layer.keys = layer.keys.index_select(0, index)
        layer.values = layer.values.index_select(0, index)


def _pairs(mask: Tensor, new: int) -> Tensor:
    """Build a (B, 1, N, L + N) bool mask by which each of the last N positions attends to itself and all before it."""
    index = torch.arange(mask.shape[1], device=mask.device)
    return (mask[:, None, :] & (index <= index[-new:, None]))[:, None]


def _positions(mask: Tensor) -> Tensor:
    return (mask.long().cumsum(-1) - 1).clamp_(min=0)
