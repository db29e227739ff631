"""Random parts of real architectures are off where log-probabilities are computed, and only there."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, OPTConfig, PhimoeConfig

from r2vpo.core.log_probs import disable_noise
from r2vpo.core.log_probs.noise import probabilities

CONFIGS = {
    "gpt2": GPT2Config(n_embd=16, n_layer=2, n_head=2, n_positions=32, vocab_size=20, resid_pdrop=0.3, attn_pdrop=0.3),
    "opt": OPTConfig(
        hidden_size=16,
        num_hidden_layers=2,
        ffn_dim=24,
        num_attention_heads=2,
        vocab_size=20,
        max_position_embeddings=32,
        word_embed_proj_dim=16,
        dropout=0.3,
        layerdrop=0.3,
    ),
    "phimoe": PhimoeConfig(
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        num_local_experts=4,
        vocab_size=20,
        router_jitter_noise=0.3,
        input_jitter_noise=0.3,
    ),
}


def spread(model: Any, ids: torch.Tensor) -> float:
    """The largest difference of logits between two forward passes with a graph."""
    return float((model(ids).logits - model(ids).logits).detach().abs().max())


@pytest.mark.parametrize("checkpointing", [False, True])
@pytest.mark.parametrize("name", CONFIGS)
def test_two_passes_of_a_model_in_training_agree(name: str, checkpointing: bool) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIGS[name], attn_implementation="eager").train()
    if checkpointing:
        model.gradient_checkpointing_enable()
    ids = torch.randint(0, 20, (2, 7))
    assert spread(model, ids) > 1e-3, "the model has nothing to turn off"
    disable_noise(model)
    assert model.training, "trainers read from it that they train"
    assert spread(model, ids) == 0.0
    model(ids).logits.logsumexp(-1).sum().backward()
    assert all(p.grad is None or p.grad.isfinite().all() for p in model.parameters())
    model.train()
    if not checkpointing:
        assert spread(model, ids) > 1e-3, "until it is put into training mode again"


def test_checkpointing_recomputes_without_noise() -> None:
    """The recomputation happens in the backward pass; gradients are those without checkpointing."""
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(CONFIGS["opt"], attn_implementation="eager").train()
        if checkpointing:
            model.gradient_checkpointing_enable()
        disable_noise(model)
        ids = torch.randint(0, 20, (2, 7), generator=torch.Generator().manual_seed(1))
        model(ids).logits.logsumexp(-1).sum().backward()
        gradients.append({n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None})
    assert gradients[0].keys() == gradients[1].keys()
    for key, value in gradients[0].items():
        torch.testing.assert_close(gradients[1][key], value, rtol=1e-5, atol=1e-6)


def test_probabilities_are_those_of_the_module_itself() -> None:
    assert probabilities(torch.nn.Dropout(0.2)) == {"p": 0.2}
    assert probabilities(torch.nn.Dropout(0.0)) == {}
    model = AutoModelForCausalLM.from_config(CONFIGS["opt"])
    assert probabilities(model.get_decoder()) == {"dropout": 0.3, "layerdrop": 0.3}
    assert probabilities(torch.nn.Linear(2, 2)) == {}
