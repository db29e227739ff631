"""Small models for the self-check, whose weights are large enough that a fault is seen."""

from __future__ import annotations

import torch
from transformers import (
    AutoModelForCausalLM,
)

from r2vpo.sampling import SelfCheck
from tests.unit.core.log_probs.small_models import VOCABULARY

SIZES = dict(vocab_size=VOCABULARY, hidden_size=32, num_hidden_layers=2, num_attention_heads=4)
GATED = dict(**SIZES, intermediate_size=48, num_key_value_heads=2)
GPT = dict(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4)
DECODER = dict(**SIZES, intermediate_size=48, is_decoder=True)


def sharpened(config, *, dtype=torch.float32):
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() > 1:
                parameter.mul_(6.0)
    return model.to(dtype)


def paths(check: SelfCheck) -> dict:
    return {path.name: path for path in check.paths}
