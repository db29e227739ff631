"""Files that lack weights, or hold another network's, are one line; files that are whole load as they were saved."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import (
    AutoModelForCausalLM,
    BertConfig,
    BertLMHeadModel,
    BloomConfig,
    BloomForCausalLM,
    GPT2Config,
    GPT2LMHeadModel,
    GptOssConfig,
    GptOssForCausalLM,
    LlamaForSequenceClassification,
    MambaConfig,
    MambaForCausalLM,
    MixtralConfig,
    MixtralForCausalLM,
    OPTConfig,
    OPTForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RobertaConfig,
    RobertaForCausalLM,
)

from r2vpo.errors import UserError
from r2vpo.models import load_model
from r2vpo.weights import foreign_weights, read_adapters, read_weights
from tests import custom_code
from tests.custom_code import custom_model_folder, separate_modules
from tests.tiny import tiny_model, tiny_tokenizer

WIDTH = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2)
HEADS = dict(intermediate_size=16, num_key_value_heads=2)

ARCHITECTURES: dict[str, Callable[[], Any]] = {
    "llama": tiny_model,
    "llama, tied": lambda: tiny_model(tie_word_embeddings=True),
    "gpt2": lambda: GPT2LMHeadModel(GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2)),
    "gpt2, untied": lambda: GPT2LMHeadModel(
        GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, tie_word_embeddings=False)
    ),
    "opt": lambda: OPTForCausalLM(OPTConfig(**WIDTH, ffn_dim=16, word_embed_proj_dim=16)),
    "bloom": lambda: BloomForCausalLM(BloomConfig(vocab_size=32, hidden_size=16, n_layer=2, n_head=2)),
    "mamba": lambda: MambaForCausalLM(MambaConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2)),
    "bert": lambda: BertLMHeadModel(BertConfig(**WIDTH, intermediate_size=16, is_decoder=True)),
    "roberta": lambda: RobertaForCausalLM(RobertaConfig(**WIDTH, intermediate_size=16, is_decoder=True)),
    "mixtral": lambda: MixtralForCausalLM(MixtralConfig(**WIDTH, **HEADS, num_local_experts=2)),
    "qwen3": lambda: Qwen3ForCausalLM(Qwen3Config(**WIDTH, **HEADS, head_dim=8)),
}


def saved(folder: Path, model: Any, **changes: Any) -> Path:
    """A model's folder, with entries of its config.json changed."""
    model.save_pretrained(folder)
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | changes))
    return folder


def rewritten(folder: Path, change: Callable[[dict[str, torch.Tensor]], None]) -> Path:
    """The folder, with its weights changed."""
    file = folder / "model.safetensors"
    weights = load_file(file)
    change(weights)
    save_file({name: value.clone() for name, value in weights.items()}, file, metadata={"format": "pt"})
    return folder


def refused(folder: Path, **options: Any) -> str:
    with pytest.raises(UserError) as raised:
        load_model(str(folder), **options)
    assert "\n" not in str(raised.value)
    return str(raised.value)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_whole_files_load_as_they_were_saved(name: str, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    torch.manual_seed(0)
    model = ARCHITECTURES[name]().eval()
    saved(tmp_path / "one", model)
    model.save_pretrained(tmp_path / "sharded", max_shard_size="5KB")
    assert len(list((tmp_path / "sharded").glob("*.safetensors"))) > 1
    saved(tmp_path / "bin", model)
    (tmp_path / "bin" / "model.safetensors").unlink()
    torch.save(model.state_dict(), tmp_path / "bin" / "pytorch_model.bin")
    for folder in ("one", "sharded", "bin"):
        loaded = load_model(str(tmp_path / folder))
        for key, value in model.state_dict().items():
            assert torch.equal(loaded.state_dict()[key], value), key
    assert "LOAD REPORT" not in caplog.text


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_tensor_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    folder = saved(tmp_path, ARCHITECTURES[name]())
    whole = load_file(folder / "model.safetensors")
    for key in list(whole)[:: max(len(whole) // 6, 1)]:
        kept = {other: value for other, value in whole.items() if other != key}
        save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
        line = refused(folder)
        assert str(folder / "model.safetensors") in line
        # Mixtral names its experts otherwise in files.
        assert key in line or "block_sparse_moe" in key, line


def test_an_output_layer_that_is_missing(tmp_path: Path) -> None:
    folder = rewritten(saved(tmp_path / "untied", tiny_model()), lambda weights: weights.pop("lm_head.weight"))
    line = refused(folder)
    assert "has no weights for lm_head.weight, 1 of the model's 21, which would be drawn at random" in line
    assert "set tie_word_embeddings to true in its config.json if its embeddings are that layer" in line
    # What the line proposes is all it takes.
    file = folder / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"tie_word_embeddings": True}))
    model = load_model(str(folder))
    assert model.lm_head.weight is model.model.embed_tokens.weight
    # In a folder of shards, without one of its own parts.
    sharded = tmp_path / "sharded"
    tiny_model().save_pretrained(sharded, max_shard_size="20KB")
    lost = sorted(sharded.glob("*.safetensors"))[1]
    lost.unlink()
    assert f"the file {lost} is missing, which the index of the weights names" in refused(sharded)


def test_files_of_another_network(tmp_path: Path) -> None:
    line = refused(saved(tmp_path / "wider", tiny_model(), intermediate_size=56))
    assert (
        "layers.0.mlp.down_proj.weight is 32 x 48 in " in line and "and 32 x 56 by its config.json (and 5 more)" in line
    )
    line = refused(saved(tmp_path / "shorter", tiny_model(), num_hidden_layers=1))
    assert "LlamaForCausalLM has no place for, model.layers.1.input_layernorm.weight" in line and "9 in all" in line
    line = refused(saved(tmp_path / "longer", tiny_model(), num_hidden_layers=3))
    assert "has no weights for model.layers.2.input_layernorm.weight" in line and "9 of the model's 30" in line
    line = refused(saved(tmp_path / "biased", tiny_model(attention_bias=True), attention_bias=False))
    assert "has no place for, model.layers.0.self_attn.k_proj.bias" in line
    qwen = saved(tmp_path / "qwen", ARCHITECTURES["qwen3"](), model_type="qwen2", architectures=["Qwen2ForCausalLM"])
    assert "self_attn.k_norm.weight" in refused(qwen) or "k_proj.bias" in refused(qwen)
    gpt2 = saved(tmp_path / "gpt2", ARCHITECTURES["gpt2"]())
    (gpt2 / "config.json").write_text((tmp_path / "wider" / "config.json").read_text())
    assert "the files were not saved from a LlamaForCausalLM" in refused(gpt2)
    torch.manual_seed(0)
    scorer = LlamaForSequenceClassification(tiny_model().config)
    assert "has no weights for lm_head.weight" in refused(
        saved(tmp_path / "scorer", scorer, architectures=["LlamaForCausalLM"])
    )
    experts = rewritten(
        saved(tmp_path / "experts", ARCHITECTURES["mixtral"]()),
        lambda weights: weights.pop("model.layers.1.block_sparse_moe.experts.1.w1.weight"),
    )
    assert "that model.layers.1.mlp.experts.gate_up_proj is made of are incomplete" in refused(experts)


def test_what_old_files_and_other_heads_leave_behind_is_no_fault(tmp_path: Path) -> None:
    def old(weights: dict[str, torch.Tensor]) -> None:
        weights["transformer.h.0.attn.bias"] = torch.ones(1, 1, 8, 8)
        weights["transformer.h.0.attn.masked_bias"] = torch.tensor(-1e4)
        weights["score.weight"] = torch.ones(1, 16)

    load_model(str(rewritten(saved(tmp_path / "gpt2", ARCHITECTURES["gpt2"]()), old)))

    def inverse_frequencies(weights: dict[str, torch.Tensor]) -> None:
        weights["model.layers.0.self_attn.rotary_emb.inv_freq"] = torch.ones(4)
        weights["v_head.summary.weight"] = torch.ones(1, 32)
        weights["vision_tower.layers.7.proj.weight"] = torch.ones(4, 4)

    load_model(str(rewritten(saved(tmp_path / "llama", tiny_model()), inverse_frequencies)))


def test_layers_that_predict_several_tokens_ahead_are_left_out() -> None:
    model = tiny_model()
    model.config.num_nextn_predict_layers = 1
    assert foreign_weights(model, ["model.layers.2.mlp.up_proj.weight"]) == []
    assert foreign_weights(model, ["model.layers.3.mlp.up_proj.weight"]) == ["model.layers.3.mlp.up_proj.weight"]


def test_quantised_files(tmp_path: Path) -> None:
    """Of both kinds that need no GPU and no other package; they are made plain as they are read."""

    def to_fp8(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if "proj" in name]:
            weights[name] = weights[name].to(torch.float8_e4m3fn)
            weights[f"{name}_scale_inv"] = torch.full((1, 1), 2.0)

    def to_mxfp4(weights: dict[str, torch.Tensor]) -> None:
        for name in [name for name in weights if name.endswith(("gate_up_proj", "down_proj"))]:
            experts, rows, columns = weights.pop(name).shape
            weights[f"{name}_blocks"] = torch.full((experts, columns, rows // 32, 16), 0x22, dtype=torch.uint8)
            weights[f"{name}_scales"] = torch.full((experts, columns, rows // 32), 127, dtype=torch.uint8)

    settings: dict[str, Any] = {"quant_method": "fp8", "weight_block_size": [128, 128], "activation_scheme": "dynamic"}
    fp8 = rewritten(saved(tmp_path / "fp8", ARCHITECTURES["qwen3"](), quantization_config=settings), to_fp8)
    stored = load_file(fp8 / "model.safetensors")["model.layers.0.mlp.up_proj.weight"].float()
    assert torch.equal(load_model(str(fp8)).model.layers[0].mlp.up_proj.weight, 2.0 * stored)
    shape = dict(vocab_size=32, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
    oss = GptOssForCausalLM(GptOssConfig(**shape, num_key_value_heads=2, head_dim=16, num_local_experts=2))
    plain = ["model.layers.*.self_attn", "model.layers.*.mlp.router", "model.embed_tokens", "lm_head"]
    settings = {"quant_method": "mxfp4", "modules_to_not_convert": plain}
    mxfp4 = rewritten(saved(tmp_path / "mxfp4", oss, quantization_config=settings), to_mxfp4)
    assert load_model(str(mxfp4)).model.layers[0].mlp.experts.down_proj.float().eq(1.0).all()
    for folder in (fp8, mxfp4):
        assert "has no weights for lm_head.weight" in refused(
            rewritten(folder, lambda weights: weights.pop("lm_head.weight"))
        )


BUFFERS = """\
import torch
from transformers import LlamaForCausalLM

from .configuration_biased import BiasedConfig


class BiasedForCausalLM(LlamaForCausalLM):
    config_class = BiasedConfig

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("kept", torch.arange(2000.0))
        self.register_buffer("made", torch.arange(3000.0), persistent=False)
        self.post_init()
"""


def test_buffers_of_a_models_own_code_are_what_the_code_makes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separate_modules(monkeypatch, tmp_path / "modules")
    monkeypatch.setattr(custom_code, "MODELLING", BUFFERS)
    folder = custom_model_folder(tmp_path / "model", tiny_tokenizer())
    state = torch.get_rng_state()
    model = load_model(str(folder), trust_remote_code=True, dtype=torch.float32)
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(model.kept, torch.arange(2000.0)) and torch.equal(model.made, torch.arange(3000.0))
    assert not any(parameter.is_meta for parameter in model.parameters())
    rewritten(folder, lambda weights: weights.update(kept=torch.ones(2000)))
    model = load_model(str(folder), trust_remote_code=True)
    assert model.kept.eq(1.0).all(), "what the file has counts"
    rewritten(folder, lambda weights: weights.pop("lm_head.weight"))
    assert "has no weights for lm_head.weight" in refused(folder, trust_remote_code=True)


def test_adapters_in_place_of_a_model(tmp_path: Path) -> None:
    base = saved(tmp_path / "base", tiny_model())
    adapted = get_peft_model(load_model(str(base)), LoraConfig(task_type="CAUSAL_LM", target_modules=["q_proj"]))
    adapted.save_pretrained(tmp_path / "adapters")
    line = refused(tmp_path / "adapters")
    assert "holds adapters (adapter_config.json)" in line and "peft's merge_and_unload" in line
    # Beside a model transformers would put them on it without a word.
    adapted.save_pretrained(base)
    assert "holds adapters (adapter_config.json)" in refused(base)
    with pytest.raises(UserError, match=r"x: .* holds adapters"):
        read_weights(AutoModelForCausalLM.from_pretrained, str(base), what="x")
    read_adapters(tiny_model(), str(tmp_path / "adapters"))
    file = tmp_path / "adapters" / "adapter_model.safetensors"
    weights = load_file(file)
    lost = sorted(weights)[0]
    save_file({name: value for name, value in weights.items() if name != lost}, file)
    with pytest.raises(UserError, match=r"its weights lack .*lora_A.*, which adapter_config\.json requires"):
        read_adapters(tiny_model(), str(tmp_path / "adapters"))


def test_a_damaged_file(tmp_path: Path) -> None:
    for name in ("model.safetensors", "pytorch_model.bin"):
        folder = saved(tmp_path / name, tiny_model())
        (folder / "model.safetensors").unlink()
        torch.save(tiny_model().state_dict(), folder / name)
        (folder / name).write_bytes((folder / name).read_bytes()[:5000])
        line = refused(folder)
        assert str(folder) in line
        assert "is damaged or cut off" in line or "may be damaged, copy them again" in line
