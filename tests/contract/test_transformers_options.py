"""Configurations of transformers still have the options that rules of length and of logits read."""

import pytest
from transformers import (
    CohereConfig,
    DogeConfig,
    FalconH1Config,
    Gemma2Config,
    GPTNeoConfig,
    GraniteConfig,
    Llama4TextConfig,
    LlamaConfig,
    MistralConfig,
    Phi3Config,
    Qwen2Config,
)

from r2vpo.core.log_probs import length_limits

LONGROPE = {"rope_type": "longrope", "rope_theta": 1e4, "short_factor": [1.0] * 48, "long_factor": [2.0] * 48}


@pytest.mark.parametrize(
    ("config", "tokens", "any_forward"),
    [
        (MistralConfig(sliding_window=77), 77, False),
        (Qwen2Config(use_sliding_window=True, sliding_window=77, max_window_layers=1), 77, False),
        (Gemma2Config(sliding_window=77), 77, False),
        (Llama4TextConfig(attention_chunk_size=77), 77, False),
        (GPTNeoConfig(window_size=77), 77, False),
        (DogeConfig(keep_window_size=77), 77, True),
        (Phi3Config(rope_parameters=LONGROPE, original_max_position_embeddings=77), 77, True),
        (
            LlamaConfig(
                rope_parameters={"rope_type": "dynamic", "rope_theta": 1e4, "factor": 2.0}, max_position_embeddings=77
            ),
            77,
            True,
        ),
    ],
    ids=lambda value: getattr(value, "model_type", None),
)
def test_limits_of_length_are_read(config, tokens, any_forward):
    assert (tokens, any_forward) in {(limit.tokens, limit.any_forward) for limit in length_limits(config)}


@pytest.mark.parametrize(
    "config",
    [
        LlamaConfig(),
        MistralConfig(sliding_window=None),
        Qwen2Config(),
        GPTNeoConfig(attention_types=[[["global"], 24]]),
    ],
    ids=lambda config: config.model_type,
)
def test_models_without_a_limit_have_none(config):
    assert length_limits(config) == []


@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (Gemma2Config, "final_logit_softcapping"),
        (CohereConfig, "logit_scale"),
        (GraniteConfig, "logits_scaling"),
        (FalconH1Config, "lm_head_multiplier"),
    ],
)
def test_options_that_change_logits_are_still_called_so(owner, name):
    assert name in owner.__dataclass_fields__
