"""Real, tiny sequence classifiers with a tokenizer of single characters, written into a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    PreTrainedTokenizerFast,
)

CHARACTERS = [chr(code) for code in range(32, 127)] + ["\n"]
VOCABULARY = ["<pad>", "<eos>", "<cls>", "<unk>", *CHARACTERS]
TEMPLATE = "{% for m in messages %}[{{ m['role'] }}] {{ m['content'] }}<eos>{% endfor %}"


def character_tokenizer(**options: Any) -> PreTrainedTokenizerFast:
    tokenizer = Tokenizer(models.WordLevel({token: i for i, token in enumerate(VOCABULARY)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    tokenizer.post_processor = processors.TemplateProcessing(single="<cls> $A", special_tokens=[("<cls>", 2)])
    defaults = dict(pad_token="<pad>", eos_token="<eos>", unk_token="<unk>", cls_token="<cls>")
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **{**defaults, **options})


def save_classifier(
    folder: Path, *, kind: str = "llama", template: str | None = TEMPLATE, tokenizer: Any = None, **changes: Any
) -> str:
    torch.manual_seed(0)
    sizes = dict(
        vocab_size=len(VOCABULARY),
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=256,
        initializer_range=0.5,
        num_labels=1,
    )
    if kind == "llama":
        config = LlamaConfig(**{**sizes, "bos_token_id": None, "eos_token_id": 1, **changes})
        LlamaForSequenceClassification(config).save_pretrained(folder)
    else:
        BertForSequenceClassification(BertConfig(**{**sizes, **changes})).save_pretrained(folder)
    tokenizer = tokenizer if tokenizer is not None else character_tokenizer()
    tokenizer.chat_template = template
    tokenizer.save_pretrained(folder)
    return str(folder)
