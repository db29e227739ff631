"""What a type demands beyond small sizes, and the types that cannot be built."""

from __future__ import annotations

from typing import Any

from tests.architectures.sizes import HEADS, VOCABULARY, WIDTH, rope

DECODER = {"is_decoder": True}

INKLING2 = {"log_scaling_n_floor": 16, "rel_extent": 16, "d_rel": 4, "unpadded_vocab_size": VOCABULARY}
FOUR_LINEAR_HEADS = {"mamba_n_heads": 4, "mamba_d_head": 16}
OVERRIDES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(
        [
            "bert",
            "bert-generation",
            "big_bird",
            "camembert",
            "data2vec-text",
            "electra",
            "ernie",
            "megatron-bert",
            "roberta",
            "roberta-prelayernorm",
            "roformer",
            "xlm-roberta",
            "xlm-roberta-xl",
        ],
        DECODER,
    ),
    "bamba": FOUR_LINEAR_HEADS | {"attn_layer_indices": [1]},
    "blt": {"encoder_hash_byte_group_vocab": VOCABULARY},
    "cohere_compass_text": {
        "layer_types": ["sliding_attention", "full_attention"],
        "rope_parameters": {
            "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0},
            "full_attention": None,
        },
    },
    "dbrx": {
        "attn_config": {"kv_n_heads": 2, "clip_qkv": 8.0, "rope_theta": 10000.0},
        "ffn_config": {"ffn_hidden_size": 48, "moe_num_experts": 4, "moe_top_k": 2},
    },
    "cohere": {"logit_scale": 0.5},
    "cohere2": {"logit_scale": 0.5},
    "cohere2_moe": {"logit_scale": 0.5},
    "cwm": {"rope_parameters": rope("llama3")},
    "apertus": {"rope_parameters": rope("llama3")},
    "apertus1p5_text": {"rope_parameters": rope("llama3")},
    "deepseek_v3": {"first_k_dense_replace": 1},
    "deepseek_v4": {
        "compress_rates": {"compressed_sparse_attention": 4, "heavily_compressed_attention": 8},
        "o_groups": 2,
        "qk_rope_head_dim": 4,
    },
    "doge": {"keep_window_size": 8},
    "dory": {
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention"],
        "num_hidden_layers": 3,
        "n_input_layers": 1,
        "n_output_layers": 1,
        "initializer_range": 1.0,  # scales are divided by it, and noise on them with it
        "ngpt_alpha_init": 0.5,  # how far a layer moves a state
    },
    "dots3_note_vision_encoder": {"num_hidden_layers": 42, "adapter_in_dim": WIDTH, "adapter_out_dim": WIDTH},
    "dots3_note_audio_encoder": {"adapter_input_size": WIDTH, "adapter_output_size": WIDTH},
    "dots3_note_text": {
        **{
            f"swa_{name}": value
            for name, value in {
                "num_attention_heads": 2,
                "num_key_value_heads": 2,
                "q_lora_rank": 16,
                "kv_lora_rank": 16,
                "head_dim": 16,
                "qk_nope_head_dim": 8,
                "v_head_dim": 8,
            }.items()
        },
        "layer_types": ["indexed_attention", "sliding_attention"],
        "mlp_layer_types": ["dense", "sparse"],
    },
    "falcon_h1": {"mamba_d_ssm": 64, "mamba_n_heads": 4, "mamba_d_head": 16},
    "gemma3n_text": {
        "layer_types": ["sliding_attention", "full_attention", "sliding_attention", "full_attention"],
        "num_hidden_layers": 4,
        "num_kv_shared_layers": 2,
        "laurel_rank": 4,
        "hidden_size_per_layer_input": 8,
        "intermediate_size": [48] * 4,
        "activation_sparsity_pattern": [0.95, 0.0, 0.0, 0.0],
    },
    "gemma4_text": {"hidden_size_per_layer_input": 8, "global_head_dim": 16},
    "gemma4_unified_text": {"global_head_dim": 16},
    "gemma4_unified_vision": {"mm_embed_dim": 32, "mm_posemb_size": 16, "output_proj_dims": 32},
    "gpt_oss": {"rope_parameters": rope("yarn")},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": FOUR_LINEAR_HEADS
    | {
        "layer_types": ["linear_attention", "full_attention"],
    },
    "hy_v4": {"mlp_layer_types": ["dense", "sparse"], "indexer_types": ["full", "shared"]},
    "inkling_text": {"log_scaling_n_floor": 16, "rel_extent": 16, "d_rel": 4},
    "inkling2_text": INKLING2,
    "inkling2_loop_text": INKLING2
    | {
        "layer_types": ["hybrid_sliding", "hybrid", "hybrid_sliding"],
        "num_hidden_layers": 3,
        "n_layers_per_attn_res_block": 1,
        "loop_layer_index_start": 1,
        "loop_layer_index_end": 2,
        "loop_gate_rank": 8,
    },
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1, "mamba_dt_rank": 4},
    "lfm2": {"layer_types": ["conv", "full_attention"]},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_dense_layers": 1},
    "llama4_text": {"floor_scale": 16},
    "longcat_flash": {"zero_expert_num": 2},
    "mamba2": {"num_heads": 8, "head_dim": 8, "n_groups": 2},
    "minicpm3": {"dim_model_base": 32, "tie_word_embeddings": False},
    "minimax_m3_vl_text": {
        "layer_types": ["full_attention", "minimax_m3_sparse"],
        "mlp_layer_types": ["dense", "sparse"],
        "index_block_size": 8,
        "index_topk_blocks": 2,
        "index_n_heads": 2,
    },
    "ministral3": {"rope_parameters": rope("yarn") | {"llama_4_scaling_beta": 0.1}},
    "nemotron_h": {"mamba_num_heads": 4, "mamba_head_dim": 16, "n_groups": 2},
    "qwen4_exp_text": {
        "hc_lowrank": 8,
        "indexer_n_heads": 2,
        "indexer_kv_heads": 1,
        "indexer_head_dim": 8,
        "indexer_budget": 16,
        "indexer_compress_ratio": 4,
    },
    "recurrent_gemma": {"num_hidden_layers": 3, "num_key_value_heads": 1},
    "reformer": DECODER
    | {
        "attn_layers": ["local", "lsh"],
        "axial_pos_shape": [8, 16],
        "axial_pos_embds_dim": [8, 24],
        "local_attn_chunk_length": 8,
        "lsh_attn_chunk_length": 8,
        "hash_seed": 1,
    },
    "rembert": DECODER | {"input_embedding_size": 24, "output_embedding_size": 40},
    "roc_bert": DECODER
    | {
        "pronunciation_embed_dim": 8,
        "pronunciation_vocab_size": VOCABULARY,
        "shape_embed_dim": 8,
        "shape_vocab_size": VOCABULARY,
    },
    "smollm3": {"no_rope_layer_interval": 2},
    "xlstm": {"hidden_size": 128, "embedding_dim": 128, "num_heads": 2},
    "xmod": DECODER | {"default_language": "en_XX"},
    "zamba": {
        "num_hidden_layers": 4,
        "layers_block_type": ["linear_attention", "hybrid"] * 2,
        "attention_hidden_size": 2 * WIDTH,
        "attention_head_dim": 16,
        "num_key_value_heads": HEADS,
        "mamba_dt_rank": 4,
    },
    "zamba2": {
        "num_hidden_layers": 3,
        "layers_block_type": ["linear_attention", "hybrid", "linear_attention"],
        "n_mamba_heads": 4,
        "adapter_rank": 8,
        "num_key_value_heads": HEADS,
    },
    "zaya": {"num_experts_per_tok": 1, "router_hidden_size": 16},
}
UNBUILDABLE: dict[str, str] = {
    "gemma3n": "its image tower needs the library timm; its language model is gemma3n_text",
    "gemma4_assistant": "a drafting head, which reads the states of another model",
    "gemma4_unified_assistant": "a drafting head, which reads the states of another model",
    "musicgen": "its decoder writes sound codes of several books, and AutoModelForCausalLM cannot build it",
    "musicgen_melody": "its decoder writes sound codes of several books, and AutoModelForCausalLM cannot build it",
}
"""Types whose class cannot be built from a configuration alone on a CPU, each with the reason."""
