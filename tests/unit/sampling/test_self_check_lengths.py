"""What the self-check takes from the configuration: rules about rows longer than its own."""

from __future__ import annotations

import pytest
import torch
from transformers import (
    AutoModelForCausalLM,
    DogeConfig,
    InklingTextConfig,
    Llama4TextConfig,
    MiniMaxM3VLTextConfig,
    MistralConfig,
)

from r2vpo.core.log_probs import length_limits
from r2vpo.core.log_probs.support import shifts_under_padding
from r2vpo.sampling import SharedPrefixSampler, check_model
from r2vpo.sampling.self_check import BY_LENGTH, GENERATE, SHARED_SAMPLER
from tests.unit.core.log_probs.small_models import small_model
from tests.unit.sampling.checked import GATED, SIZES, paths, sharpened


def test_blocks_that_padding_shifts_are_sampled_by_length():
    """Blocks longer than the rows of the check: nothing is wrong with those, and 4.7 nats with longer ones."""
    torch.manual_seed(0)
    layers = dict(layer_types=["full_attention", "minimax_m3_sparse"], mlp_layer_types=["dense", "dense"])
    config = MiniMaxM3VLTextConfig(**GATED, head_dim=8, rotary_dim=8, dense_intermediate_size=48, **layers)
    check = check_model(AutoModelForCausalLM.from_config(config))
    assert check.sampler == BY_LENGTH
    assert {path.name: path.reason for path in check.paths}[GENERATE].endswith("blocks that padding shifts")


def inkling(start):
    sizes = SIZES | {"num_hidden_layers": 1, "num_key_value_heads": 4}
    layers = dict(layer_types=["hybrid"], mlp_layer_types=["dense"], log_scaling_n_floor=start, rel_extent=16, d_rel=4)
    torch.manual_seed(0)
    return AutoModelForCausalLM.from_config(InklingTextConfig(**sizes, **layers, intermediate_size=48, head_dim=8))


def test_attention_that_is_scaled_by_the_index_behind_a_length_is_sampled_by_length_there():
    """Rows of the check are shorter than that, so that padding changes nothing in them."""
    within, behind, unknown = (check_model(inkling(100), longest=longest) for longest in (99, 100, None))
    assert within.sampler == GENERATE and within.refusal is None
    for check in (behind, unknown):
        assert check.sampler == BY_LENGTH
        assert "padding included, from 100 tokens on" in paths(check)[GENERATE].reason


def test_llama_4_scales_by_the_index_too():
    config = Llama4TextConfig(**GATED, head_dim=8, floor_scale=64, attention_chunk_size=500, num_local_experts=2)
    assert [limit.tokens for limit in length_limits(config) if limit.padding] == [63]
    assert shifts_under_padding(config, 63) is None and "from 64 tokens on" in shifts_under_padding(config, 64)
    config.attn_temperature_tuning = False
    assert not any(limit.padding for limit in length_limits(config))


def test_keys_chosen_from_a_row_are_right_up_to_their_number_and_refused_behind():
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(DogeConfig(**GATED, keep_window_size=32))
    within, behind = (check_model(model, longest=longest) for longest in (32, 33))
    assert within.refusal is None
    assert behind.refusal.startswith("the model keeps the 32 strongest keys of a row")


@pytest.mark.parametrize(
    ("rope", "options"),
    [
        ("dynamic", {"factor": 4.0}),
        ("longrope", {"short_factor": [1.0] * 4, "long_factor": [4.0] * 4, "original_max_position_embeddings": 64}),
    ],
)
def test_positions_that_change_with_the_length_are_right_below_it_and_refused_behind(rope, options):
    model = small_model(
        max_position_embeddings=64, rope_parameters={"rope_type": rope, "rope_theta": 10_000.0, **options}
    )
    below, unknown, behind = (check_model(model, longest=longest) for longest in (64, None, 65))
    assert below.shares_prompts
    assert below.sampler == SHARED_SAMPLER
    assert not unknown.shares_prompts
    assert unknown.sampler == GENERATE
    assert "beyond 64" in behind.refusal or "passes 64" in behind.refusal


def test_the_sampler_knows_how_long_its_rows_will_be():
    model = sharpened(MistralConfig(**GATED, sliding_window=16))
    sampler = SharedPrefixSampler(model, eos_token_ids=[], pad_token_id=0, max_new_tokens=6)
    assert len(sampler.sample([list(range(10))], 2, seed=0)) == 2
    with pytest.raises(ValueError, match=r"cannot sample 17 tokens.*sliding window of 16"):
        sampler.sample([list(range(11))], 2, seed=0)
