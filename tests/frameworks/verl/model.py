"""A tiny Llama, its log-probs as verl's engines give them, and a folder of it."""

from __future__ import annotations

from pathlib import Path

import torch
from tokenizers import Tokenizer, models
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

VOCABULARY, PROMPT = 17, 3


def tiny_llama() -> LlamaForCausalLM:
    torch.manual_seed(0)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=16,
            intermediate_size=24,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=32,
        )
    )


def row_log_probs(model: LlamaForCausalLM, ids: torch.Tensor) -> torch.Tensor:
    """At each position the log-prob of the next token, 0 at the last."""
    logits = model(ids[None]).logits[0, :-1]
    picked = logits.log_softmax(-1).gather(1, ids[1:, None])[:, 0]
    return torch.cat((picked, picked.new_zeros(1)))


def save(folder: Path) -> None:
    """With a tokenizer, which verl asks for and no test uses."""
    tiny_llama().save_pretrained(folder)
    words = {str(i): i for i in range(VOCABULARY)}
    tokenizer = Tokenizer(models.WordLevel(words, unk_token="0"))
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="0", eos_token="1").save_pretrained(folder)
