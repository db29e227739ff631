"""Write a model as one GGUF file for llama.cpp, for the architectures that were compared with it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from r2vpo.errors import UserError
from r2vpo.export.gguf_tokenizer import CONVERTER, add_tokenizer

ARCHITECTURES = ("llama", "qwen2", "qwen3")
"""Values of `model_type`, which are also llama.cpp's names."""


def check_gguf(config: Any, *, what: str) -> None:
    """Refuse a model whose computation in llama.cpp was not compared with that in transformers.

    Args:
        config: its configuration.
        what: beginning of an error.

    Raises:
        UserError: the architecture, or a variant of it, is not one of those.
    """
    kind, rope = config.model_type, (getattr(config, "rope_parameters", None) or {}).get("rope_type", "default")
    reason = None
    if kind not in ARCHITECTURES:
        reason = f"its architecture {kind} is not {' or '.join(ARCHITECTURES)}"
    elif config.hidden_act != "silu":
        reason = f"its activation is {config.hidden_act}"
    elif rope not in (("default", "llama3", "linear") if kind == "llama" else ("default",)):
        reason = f"its positions are scaled by {rope}"
    elif kind != "qwen2" and (getattr(config, "attention_bias", False) or getattr(config, "mlp_bias", False)):
        reason = "its layers have biases"
    elif getattr(config, "use_sliding_window", False):
        reason = "its attention has a sliding window"
    if reason is not None:
        raise UserError(f"{what}: {reason}, which this package does not write: convert the folder with {CONVERTER}")


def write_gguf(
    path: Path, model: Any, tokenizer: Any, *, kind: str, name: str, licence: str | None, ends: Sequence[int], what: str
) -> None:
    """Write a model and its tokenizer; nothing is written if they do not fit.

    Args:
        path: the file.
        model: a model of transformers with float32 weights.
        tokenizer: its tokenizer.
        kind: type of the matrices: f32, f16, bf16 or q8_0; vectors are always float32.
        name: what llama.cpp shows as the model's name.
        licence: of the base model, or None.
        ends: ids that end an answer.
        what: beginning of an error.

    Raises:
        UserError: the model or its tokenizer cannot be written, or a weight is too large for float16.
        OSError: the file cannot be written.
    """
    from gguf import GGUFWriter

    check_gguf(model.config, what=what)
    writer = GGUFWriter(None, model.config.model_type)
    _add_facts(writer, model, kind=kind, name=name, licence=licence)
    rows = model.get_input_embeddings().weight.shape[0]
    add_tokenizer(writer, tokenizer, rows=rows, ends=ends, what=what)
    for tensor_name, tensor in _tensors(model, what):
        _add_tensor(writer, tensor_name, tensor, kind, what)
    with closing(writer):
        writer.write_header_to_file(path)
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()


def _add_facts(writer: Any, model: Any, *, kind: str, name: str, licence: str | None) -> None:
    from gguf import GGML_QUANT_VERSION, LlamaFileType

    config = model.config
    types = {
        "f32": LlamaFileType.ALL_F32,
        "f16": LlamaFileType.MOSTLY_F16,
        "bf16": LlamaFileType.MOSTLY_BF16,
        "q8_0": LlamaFileType.MOSTLY_Q8_0,
    }
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    writer.add_type("model")
    writer.add_name(name)
    if licence is not None:
        writer.add_license(licence)
    writer.add_file_type(types[kind])
    writer.add_quantization_version(GGML_QUANT_VERSION)
    writer.add_vocab_size(model.get_input_embeddings().weight.shape[0])
    writer.add_block_count(config.num_hidden_layers)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_rope_dimension_count(head)
    writer.add_rope_freq_base(config.rope_parameters["rope_theta"])
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)


def _tensors(model: Any, what: str) -> Iterator[tuple[str, Tensor]]:
    """Yield the tensors under llama.cpp's names, in the order of rows that it expects."""
    from gguf import MODEL_ARCH, get_tensor_name_map

    config = model.config
    names = get_tensor_name_map(MODEL_ARCH[config.model_type.upper()], config.num_hidden_layers)
    tied = model.get_output_embeddings().weight is model.get_input_embeddings().weight
    for name, tensor in model.state_dict().items():
        if tied and name == "lm_head.weight":
            continue
        found = names.get_name(name, try_suffixes=(".weight", ".bias"))
        if found is None:
            raise UserError(
                f"{what}: llama.cpp has no name for its weights {name}: convert the folder with {CONVERTER}"
            )
        if config.model_type == "llama" and name.endswith(("q_proj.weight", "k_proj.weight")):
            heads = config.num_attention_heads if "q_proj" in name else config.num_key_value_heads
            tensor = _interleaved(tensor, heads)
        yield found, tensor
    factors = _rope_factors(model)
    if factors is not None:
        yield "rope_freqs.weight", factors


def _interleaved(tensor: Tensor, heads: int) -> Tensor:
    """Reorder the rows of a head: llama.cpp rotates neighbours of a llama, transformers the halves of a head."""
    return tensor.reshape(heads, 2, tensor.shape[0] // heads // 2, -1).transpose(1, 2).reshape(tensor.shape)


def _rope_factors(model: Any) -> Tensor | None:
    """Return what llama.cpp divides the frequencies of positions by; None if they are those of `rope_theta`."""
    config = model.config
    scaled = model.get_decoder().rotary_emb.inv_freq.float().cpu()
    head = 2 * len(scaled)
    plain = 1.0 / config.rope_parameters["rope_theta"] ** (torch.arange(0, head, 2).float() / head)
    return None if config.rope_parameters.get("rope_type", "default") == "default" else plain / scaled


def _add_tensor(writer: Any, name: str, tensor: Tensor, kind: str, what: str) -> None:
    from gguf import GGMLQuantizationType
    from gguf.quants import quantize

    data = tensor.detach().float().cpu().contiguous().numpy()
    chosen = GGMLQuantizationType[kind.upper()] if data.ndim > 1 else GGMLQuantizationType.F32
    if chosen is GGMLQuantizationType.Q8_0 and data.shape[-1] % 32:
        chosen = GGMLQuantizationType.F16  # as llama.cpp does with rows that are not whole blocks
    if chosen is GGMLQuantizationType.F16 and float(abs(data).max()) > torch.finfo(torch.float16).max:
        raise UserError(f"{what}: {name} has weights beyond the range of float16: use --gguf bf16")
    writer.add_tensor(name, quantize(data, chosen), raw_dtype=chosen)
