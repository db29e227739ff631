"""Options that decide about positions, windows, scales or noise, beyond each type's plain tiny configuration."""

from __future__ import annotations

from typing import Any

from tests.architectures.sizes import ATTENTION_WINDOW, ORIGINAL_LENGTH, ROPES, rope

FULL = {"layer_types": ["full_attention", "full_attention"]}
MIXED = {"layer_types": ["full_attention", "sliding_attention"]}
DYNAMIC = {"rope_parameters": rope("dynamic"), "max_position_embeddings": ORIGINAL_LENGTH}
SCALES = {
    "embedding_multiplier": 2.0,
    "logits_scaling": 0.5,
    "residual_multiplier": 0.5,
    "attention_multiplier": 0.5,
}
VARIANTS: dict[str, dict[str, dict[str, Any]]] = {
    "bert": {"encoder": {"is_decoder": False}},
    "cohere": {"plain_scale": {"logit_scale": 1.0, "use_qk_norm": True}},
    "deepseek_v2": {"yarn": {"rope_parameters": rope("yarn")}, "no_q_rank": {"q_lora_rank": None}},
    "deepseek_v3": {"yarn": {"rope_parameters": rope("yarn")}, "groups": {"n_group": 2, "topk_group": 1}},
    "doge": {"moe": {"is_moe": True, "num_experts": 16}, "wide": {"keep_window_size": 2048}},
    "dory": {
        "full": {"layer_types": ["full_attention"] * 3},
        "last_loop": {"layer_types": ["full_attention"] * 3, "recurrent_kv_cache_mode": "last_loop"},
    },
    "falcon": {
        "alibi": {"alibi": True},
        "heads": {"multi_query": False},
        "new": {"new_decoder_architecture": True, "num_kv_heads": 2},
        "new_alibi": {"new_decoder_architecture": True, "num_kv_heads": 2, "alibi": True},
        "dynamic": DYNAMIC,
    },
    "falcon_h1": {
        "multipliers": {
            "lm_head_multiplier": 0.5,
            "embedding_multiplier": 2.0,
            "key_multiplier": 0.5,
            "attention_out_multiplier": 0.7,
            "ssm_out_multiplier": 0.7,
        }
    },
    "gemma2": {
        "full": FULL,
        "no_softcap": FULL | {"final_logit_softcapping": None, "attn_logit_softcapping": None},
    },
    "gemma3_text": {"full": FULL},
    "glm4_moe": {"groups": {"n_group": 2, "topk_group": 1}},
    "gpt2": {
        "no_dropout": {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0},
        "inverse_layer": {"scale_attn_by_inverse_layer_idx": True, "reorder_and_upcast_attn": True},
    },
    "gpt_bigcode": {"heads": {"multi_query": False}},
    "gpt_neo": {"global": {"attention_types": [[["global"], 2]]}},
    "gpt_neox": {"sequential": {"use_parallel_residual": False}, "linear": {"rope_parameters": rope("linear")}},
    "gpt_oss": {"full": FULL},
    "granite": {"scales": SCALES},
    "granitemoe": {"scales": SCALES},
    "granitemoehybrid": {"rope": {"position_embedding_type": "rope"} | SCALES},
    "granitemoeshared": {"scales": SCALES | {"shared_intermediate_size": 48}},
    "laguna": {"window": {"layer_types": ["sliding_attention", "full_attention"]}},
    "llama": {
        **{kind: {"rope_parameters": rope(kind)} for kind in ROPES},
        "dynamic": DYNAMIC,
        "bias": {"attention_bias": True, "mlp_bias": True},
        "tied": {"tie_word_embeddings": True},
    },
    "mellum": {"window": {"layer_types": ["sliding_attention", "full_attention"]}},
    "mistral": {"full": {"sliding_window": None}},
    "mixtral": {"window": {"sliding_window": ATTENTION_WINDOW}, "jitter": {"router_jitter_noise": 0.1}},
    "olmo": {"clip": {"clip_qkv": 1.0}},
    "opt": {
        "narrow": {"word_embed_proj_dim": 16},
        "norm_after": {"do_layer_norm_before": False},
    },
    "phi": {
        "norm": {"qk_layernorm": True},
        "dynamic": DYNAMIC,
    },
    "phi3": {
        "longrope": {"rope_parameters": rope("longrope"), "original_max_position_embeddings": ORIGINAL_LENGTH},
        "full": {"sliding_window": None},
    },
    "phimoe": {
        "noise": {"router_jitter_noise": 0.2, "input_jitter_noise": 0.1},
        "longrope": {
            "rope_parameters": rope("longrope") | {"short_mscale": 1.0, "long_mscale": 1.2},
            "original_max_position_embeddings": ORIGINAL_LENGTH,
        },
    },
    "qwen2": {"window": MIXED | {"use_sliding_window": True}, "yarn": {"rope_parameters": rope("yarn")}},
    "qwen2_moe": {"window": MIXED | {"use_sliding_window": True}, "dense_step": {"decoder_sparse_step": 2}},
    "qwen3": {
        "window": MIXED | {"use_sliding_window": True},
        "dynamic": DYNAMIC,
    },
    "qwen3_moe": {"window": {"use_sliding_window": True, "sliding_window": ATTENTION_WINDOW}},
    "qwen4_exp_text": {
        "ngrams": {
            "ple_layer_ids": [1],
            "ple_embed_dim": 16,
            "ngram_vocab_size_base": 64,
            "split_ngram_parts": 4,
            "make_ngram_vocab_size_divisible_by": 8,
        }
    },
    "roformer": {"values": {"rotary_value": True}},
    "stablelm": {"parallel": {"qk_layernorm": True, "use_parallel_residual": True}},
    "starcoder2": {"full": {"sliding_window": None}},
    "xlm": {"causal": {"causal": True}},
    "xlnet": {"causal": {"attn_type": "uni"}},
    "zamba2": {"rope": {"use_mem_rope": True, "use_shared_attention_adapter": True, "num_mem_blocks": 1}},
}
