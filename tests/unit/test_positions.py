"""The longest text of a model: against the lengths at which its own forward fails, and what stretched rope declares."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    BloomConfig,
    BloomForCausalLM,
    FalconConfig,
    FalconForCausalLM,
    JambaConfig,
    JambaForCausalLM,
    MambaConfig,
    MambaForCausalLM,
    PreTrainedModel,
)

from r2vpo.positions import position_limit
from tests.tiny import tiny_model

LONGEST = 24
WIDTH = dict(vocab_size=32, hidden_size=16, num_hidden_layers=1, num_attention_heads=2)
TABLES = {
    "gpt2": dict(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=LONGEST),
    "openai-gpt": dict(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=LONGEST),
    "ctrl": dict(vocab_size=32, n_embd=16, n_layer=1, n_head=2, dff=16, n_positions=LONGEST),
    "gpt_bigcode": dict(vocab_size=32, n_embd=16, n_layer=1, n_head=2, n_positions=LONGEST),
    "opt": WIDTH | dict(ffn_dim=16, word_embed_proj_dim=16, max_position_embeddings=LONGEST),
    "biogpt": WIDTH | dict(intermediate_size=16, max_position_embeddings=LONGEST),
    "bert": WIDTH | dict(intermediate_size=16, max_position_embeddings=LONGEST, is_decoder=True),
    "roberta": WIDTH | dict(intermediate_size=16, max_position_embeddings=LONGEST, is_decoder=True),
    "mpt": dict(vocab_size=32, d_model=16, n_layers=1, n_heads=2, max_seq_len=LONGEST),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables_of_positions_end_where_the_forward_does(name: str) -> None:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(AutoConfig.for_model(name, **TABLES[name])).eval()
    limit = position_limit(model)
    assert limit is not None

    def forward(length: int) -> None:
        with torch.no_grad():
            model(input_ids=torch.randint(3, 32, (1, length)), use_cache=False)

    forward(limit)
    with pytest.raises((IndexError, RuntimeError)):
        forward(limit + 1)


@pytest.mark.parametrize(
    ("rope", "limit"),
    [
        (None, 128),
        ({"rope_type": "linear", "factor": 2.0}, 256),
        ({"rope_type": "dynamic", "factor": 2.0}, 256),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 128}, 512),
        ({"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32}, 128),
        (
            {
                "rope_type": "llama3",
                "factor": 8.0,
                "original_max_position_embeddings": 32,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
            128,
        ),
    ],
)
def test_rope_ends_where_the_model_was_trained_or_is_stretched_to(rope: dict[str, Any] | None, limit: int) -> None:
    model = tiny_model(**({} if rope is None else {"rope_parameters": {"rope_theta": 1e4} | rope}))
    assert position_limit(model) == limit
    with torch.device("meta"):
        assert position_limit(type(model)(model.config)) == limit


@pytest.mark.parametrize(
    "make",
    [
        lambda: BloomForCausalLM(BloomConfig(vocab_size=32, hidden_size=16, n_layer=1, n_head=2)),
        lambda: FalconForCausalLM(FalconConfig(**WIDTH, alibi=True, max_position_embeddings=LONGEST)),
        lambda: MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=1)),
        lambda: JambaForCausalLM(
            JambaConfig(**(WIDTH | dict(num_hidden_layers=2)), num_key_value_heads=2, intermediate_size=16,
                        use_mamba_kernels=False, num_experts=1, max_position_embeddings=LONGEST)
        ),
    ],
    ids=["bloom", "falcon with alibi", "mamba", "jamba"],
)  # fmt: skip
def test_models_without_positions_have_no_limit(make: Callable[[], PreTrainedModel]) -> None:
    assert position_limit(make()) is None


def test_falcon_with_rope_has_one() -> None:
    assert position_limit(FalconForCausalLM(FalconConfig(**WIDTH, max_position_embeddings=LONGEST))) == LONGEST
