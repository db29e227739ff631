"""Tiny random language models and batches with left padding, and the ordinary forward to compare with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

from r2vpo.core.log_probs import PrefixBatch

VOCABULARY = 97
KINDS = {"llama": (LlamaConfig, LlamaForCausalLM), "qwen2": (Qwen2Config, Qwen2ForCausalLM)}


def small_model(kind: str = "llama", *, seed: int = 0, **changes: Any) -> Any:
    """Two layers, grouped-query attention, large weights so that the distributions are far from uniform."""
    torch.manual_seed(seed)
    options = dict(
        vocab_size=VOCABULARY,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=1024,
        initializer_range=0.15,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=None,
    )
    config, model = KINDS[kind]
    return model(config(**(options | changes)))


def left_padded(prompts: list[list[int]]) -> tuple[Tensor, Tensor]:
    longest = max(map(len, prompts))
    # Garbage in the padding: nothing may depend on it.
    ids = torch.tensor([[7] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[False] * (longest - len(p)) + [True] * len(p) for p in prompts])
    return ids, mask


def random_batch(
    *, common: int, tails: list[int], rows: list[int], tokens: int, seed: int = 0, ragged: bool = True
) -> PrefixBatch:
    """Prompts of ``common`` shared tokens and own ``tails``; ``rows`` names the prompt of each response."""
    generator = torch.Generator().manual_seed(seed)
    start = torch.randint(1, VOCABULARY, (common,), generator=generator).tolist()
    prompts = []
    for number, tail in enumerate(tails):
        own = torch.randint(1, VOCABULARY, (tail,), generator=generator).tolist()
        # The first own token differs between prompts, so that the common start is exactly `common` long.
        prompts.append([*start, number + 1, *own[1:]])
    ids, mask = left_padded(prompts)
    response_ids = torch.randint(1, VOCABULARY, (len(rows), tokens), generator=generator)
    lengths = torch.randint(1, tokens + 1, (len(rows),), generator=generator)
    if not ragged:
        lengths = torch.full_like(lengths, tokens)
    response_mask = torch.arange(tokens) < lengths[:, None]
    return PrefixBatch(ids, mask, torch.tensor(rows), response_ids, response_mask)


def ordinary_log_probs(model: Any, batch: PrefixBatch, temperature: float = 1.0) -> tuple[Tensor, Tensor]:
    """(B, T) log-probabilities and entropies by a full forward over every row, prompt and response."""
    width = batch.prompt_ids.shape[1]
    ids = torch.cat([batch.prompt_ids[batch.group_index], batch.response_ids], dim=1)
    mask = torch.cat([batch.prompt_mask[batch.group_index], torch.ones_like(batch.response_mask)], dim=1)
    position_ids = (mask.long().cumsum(-1) - 1).clamp(min=0)
    hidden = model.get_decoder()(
        input_ids=ids, attention_mask=mask.long(), position_ids=position_ids, use_cache=False
    ).last_hidden_state
    logits = model.get_output_embeddings()(hidden[:, width - 1 : -1]) / temperature
    everything = logits.log_softmax(-1)
    chosen = everything.gather(-1, batch.response_ids[..., None]).squeeze(-1)
    entropy = -(everything.exp() * everything).sum(-1)
    zero = torch.zeros(())
    return torch.where(batch.response_mask, chosen, zero), torch.where(batch.response_mask, entropy, zero)


def gradients(model: Any, log_probs: Tensor, weights: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    (log_probs * weights).sum().backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}
