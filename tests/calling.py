"""A tiny chat model that calls a tool: a chain of tokens, each with the few that may follow it."""

from __future__ import annotations

import math
from pathlib import Path

import torch
import trl
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

CALL = '\n{"name": "multiply", "arguments": {"a": 3, "b": 4}}\n'
WRONG = '\n{"name": "multiply", "arguments": {"a": 3, "c": 4}}\n'
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PLAIN = ("<tool_call>", "</tool_call>", CALL, WRONG, "Done")

FOLLOWS = {
    "\n": ("<tool_call>", "Done"),
    "<tool_call>": (CALL, WRONG),
    CALL: ("</tool_call>",),
    WRONG: ("</tool_call>",),
    "</tool_call>": ("<|im_end|>",),
    "Done": ("<|im_end|>",),
}
"""What may follow a token, each with the same probability; anything may follow the rest."""


def multiply(a: int, b: int) -> int:
    """Multiply two integers.

    Args:
        a: The first.
        b: The second.
    """
    return a * b


def chat_tokenizer() -> PreTrainedTokenizerFast:
    """Bytes, and a token for each of the texts above; TRL's template for Qwen 3."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={char: place for place, char in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=True, normalized=False) for text in SPECIAL])
    tokenizer.add_tokens([AddedToken(text, normalized=False) for text in PLAIN])
    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token=SPECIAL[0], eos_token=SPECIAL[2], padding_side="left"
    )
    fast.chat_template = (Path(trl.__file__).parent / "chat_templates" / "qwen3.jinja").read_text()
    return fast


def calling_model(tokenizer: PreTrainedTokenizerFast) -> LlamaForCausalLM:
    """A Llama whose next token depends on the last one alone, until it is trained."""
    size = math.ceil(len(tokenizer) / 8) * 8
    torch.manual_seed(0)
    model = LlamaForCausalLM(
        LlamaConfig(
            vocab_size=size,
            hidden_size=size,
            intermediate_size=16,
            num_hidden_layers=1,
            num_attention_heads=4,
            max_position_embeddings=4096,
            pad_token_id=tokenizer.pad_token_id,
            eos_token_id=tokenizer.eos_token_id,
            bos_token_id=None,
            tie_word_embeddings=False,
        )
    )
    with torch.no_grad():
        model.model.embed_tokens.weight.copy_(torch.eye(size))
        model.model.layers[0].self_attn.o_proj.weight.zero_()
        model.model.layers[0].mlp.down_proj.weight.zero_()
        model.lm_head.weight.zero_()
        for token, following in FOLLOWS.items():
            (last,) = tokenizer(token, add_special_tokens=False)["input_ids"]
            for text in following:
                (following_id,) = tokenizer(text, add_special_tokens=False)["input_ids"]
                # The norm in front of the head makes a unit vector sqrt(size) long.
                model.lm_head.weight[following_id, last] = 20.0 / math.sqrt(size)
    return model
