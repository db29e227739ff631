"""How large everything in the zoo is."""

from __future__ import annotations

from typing import Any

VOCABULARY = 61
HEADS, HEAD_WIDTH = 4, 8
WIDTH = HEADS * HEAD_WIDTH
ATTENTION_WINDOW = 12

_NAMES: list[tuple[str, int]] = [
    ("vocab_size decoder_vocab_size text_vocab_size vocab_size_per_layer_input", VOCABULARY),
    ("num_hidden_layers n_layer n_layers num_layers num_blocks", 2),
    ("decoder_layers encoder_layers num_decoder_layers num_encoder_layers", 2),
    # The residual stream.
    ("hidden_size n_embd d_model dim_model emb_dim embedding_dim embedding_size dim", WIDTH),
    ("attention_hidden_size lru_width hidden_size_global", WIDTH),
    # Within a block.
    (
        "intermediate_size intermediate_size_mlp dense_intermediate_size feed_forward_size n_inner d_inner dff dim_ff",
        48,
    ),
    ("ffn_dim decoder_ffn_dim encoder_ffn_dim ffn_hidden_size expert_ffn_hidden_size moe_intermediate_size", 48),
    ("shared_intermediate_size shared_expert_intermediate_size shared_experts_intermediate_size", 48),
    ("moe_shared_expert_intermediate_size", 48),
    ("num_attention_heads n_head n_heads num_heads attention_heads swa_num_attention_heads", HEADS),
    ("decoder_attention_heads encoder_attention_heads num_decoder_attention_heads num_encoder_attention_heads", HEADS),
    ("num_key_value_heads swa_num_key_value_heads", 2),
    ("head_dim d_kv dim_head d_head kv_channels attention_head_dim attention_head_size swa_head_dim", HEAD_WIDTH),
    ("global_head_dim rotary_dim", HEAD_WIDTH),
    # Latent attention, and attention to chosen tokens: with few heads its scores would tie.
    ("kv_lora_rank q_lora_rank o_lora_rank", 16),
    ("qk_rope_head_dim qk_nope_head_dim v_head_dim index_head_dim index_topk", 8),
    ("index_n_heads", 16),
    ("num_experts num_local_experts n_routed_experts moe_num_experts", 4),
    ("num_experts_per_tok num_experts_per_token moe_topk moe_k", 2),
    ("n_shared_experts num_shared_experts moe_num_shared_experts n_group topk_group num_expert_group", 1),
    # Recurrent states.
    ("mamba_d_state state_size ssm_state_size mamba_chunk_size chunk_size", 8),
    ("linear_key_head_dim linear_value_head_dim linear_head_dim", HEAD_WIDTH),
    ("linear_num_key_heads linear_num_value_heads linear_num_heads", 2),
    ("max_position_embeddings n_positions max_target_positions n_ctx max_seq_len model_max_length", 128),
    ("pad_token_id", 0),
    ("bos_token_id eos_token_id", 1),
]
SIZES: dict[str, Any] = {name: size for names, size in _NAMES for name in names.split()}
"""Fields of configurations that are sizes, with what they are set to."""

WINDOWS = tuple(
    "sliding_window attention_window_size sliding_window_size window_size attention_chunk_size local_attention".split()
)
"""Fields that are the reach of an attention layer, in tokens."""

ORIGINAL_LENGTH = 32
"""Tokens for which stretched positions were made; rows go beyond."""

ROPES = ("linear", "yarn", "llama3", "longrope")


def rope(kind: str) -> dict[str, Any]:
    """Options of a way to stretch positions, for heads of width 8."""
    original = {"original_max_position_embeddings": ORIGINAL_LENGTH}
    own = {
        "linear": {},
        "dynamic": {},
        "yarn": original,
        "llama3": original | {"low_freq_factor": 1.0, "high_freq_factor": 4.0},
        "longrope": original | {"short_factor": [1.0, 1.1, 1.2, 1.3], "long_factor": [1.5, 2.0, 3.0, 4.0]},
    }[kind]
    return {"rope_type": kind, "rope_theta": 10000.0, "factor": 4.0} | own
