"""Small byte-level BPE tokenizers that split texts in a given way, and models of the architectures of GGUF files."""

from __future__ import annotations

from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, trainers
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

from r2vpo.export.gguf_tokenizer import PRE_TOKENIZERS

TEXTS = [
    "The quick brown fox jumps over the lazy dog. It's 12 + 30 = 42, isn't it?\n\n\tYes: they're   1234567 apart!",
    "def add(a, b):\n    return a + b  # 3.14 and 2,718\r\n\r\n",
    "Größe, naïve café, Ελλάδα, 東京は2026年, 🙂🙂  WE'LL SEE I'M HERE   \n  x\n",
]
TEMPLATE = (
    "{% for m in messages %}<|start|>{{ m['role'] }}\n{{ m['content'] }}<|end|>\n{% endfor %}<|start|>assistant\n"
)


def bpe_tokenizer(identifier: str) -> PreTrainedTokenizerFast:
    """A tokenizer that llama.cpp calls `identifier`; <|end|> ends an answer, <|more|> ends it too."""
    (split, whole_words) = next((split, whole) for name, split, whole in PRE_TOKENIZERS if name == identifier)
    tokenizer = Tokenizer(models.BPE(ignore_merges=whole_words))
    tokenizer.pre_tokenizer = _from_json(split)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<|text|>", "<|start|>", "<|end|>", "<|more|>"]
    trainer = trainers.BpeTrainer(
        vocab_size=500,
        special_tokens=special,
        show_progress=False,
        initial_alphabet=_bytes(),
    )
    tokenizer.train_from_iterator(TEXTS * 3, trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        bos_token="<|text|>",
        eos_token="<|end|>",
        pad_token="<|text|>",
        extra_special_tokens=["<|start|>", "<|more|>"],
        padding_side="left",
        chat_template=TEMPLATE,
    )


def gguf_model(kind: str, tokenizer: Any, **changes: Any) -> Any:
    """A model of an architecture that GGUF files are written of, with random weights that give sharp answers."""
    torch.manual_seed(0)
    options = dict(
        vocab_size=len(tokenizer) + 3,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        head_dim=32,
        max_position_embeddings=512,
        initializer_range=0.2,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    if kind == "qwen2":
        del options["head_dim"]
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(kind, **(options | changes)))
    for parameter in model.parameters():
        if parameter.ndim == 1:  # norms are 1 and biases 0 at first, which would hide a wrong place
            torch.nn.init.normal_(parameter, 1.0 if "norm" in _name(model, parameter) else 0.0, 0.2)
    return model.eval()


def _name(model: Any, wanted: torch.nn.Parameter) -> str:
    return next(name for name, parameter in model.named_parameters() if parameter is wanted)


def _bytes() -> list[str]:
    from tokenizers import pre_tokenizers

    return pre_tokenizers.ByteLevel.alphabet()


def _from_json(split: dict[str, Any]) -> Any:
    from tokenizers import Regex, pre_tokenizers

    kind = split["type"]
    if kind == "Sequence":
        return pre_tokenizers.Sequence([_from_json(part) for part in split["pretokenizers"]])
    if kind == "Digits":
        return pre_tokenizers.Digits(individual_digits=split["individual_digits"])
    if kind == "Split":
        return pre_tokenizers.Split(Regex(split["pattern"]["Regex"]), behavior="isolated")
    return pre_tokenizers.ByteLevel(add_prefix_space=split["add_prefix_space"], use_regex=split["use_regex"])
