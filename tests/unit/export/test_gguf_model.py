"""GGUF files of small models: read back they are the same model, and what llama.cpp would compute otherwise is refused.

tests/frameworks/gguf compares them with llama.cpp itself.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.cli.arguments import GGUF_TYPES
from r2vpo.errors import UserError
from r2vpo.export.gguf_model import write_gguf
from r2vpo.models import load_model, load_tokenizer
from tests.bpe import TEXTS, bpe_tokenizer, gguf_model
from tests.tiny import tiny_tokenizer


def write(path: Path, model: Any, tokenizer: Any, kind: str = "f32", **options: Any) -> Path:
    settings = {"name": "tiny", "licence": "mit", "ends": [tokenizer.eos_token_id], "what": "tiny"} | options
    write_gguf(path, model, tokenizer, kind=kind, **settings)
    return path


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize(("kind", "identifier"), [("llama", "llama-bpe"), ("qwen2", "qwen2"), ("qwen3", "qwen2")])
def test_what_is_read_back_is_the_same(tmp_path: Path, kind: str, identifier: str) -> None:
    tokenizer = bpe_tokenizer(identifier)
    # transformers reads no other width of a head for qwen3, and there is none on the hub.
    changes = {"tie_word_embeddings": True, "head_dim": 128} if kind == "qwen3" else {}
    model = gguf_model(kind, tokenizer, **changes)
    more = tokenizer.convert_tokens_to_ids("<|more|>")
    path = str(write(tmp_path / "tiny.gguf", model, tokenizer, ends=[tokenizer.eos_token_id, more]))
    found, theirs = load_model(path), load_tokenizer(path)
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())
    ids = torch.tensor([tokenizer(TEXTS[0])["input_ids"]])
    with torch.no_grad():
        torch.testing.assert_close(found(ids).logits, model(ids).logits)
    assert found.generation_config.eos_token_id == [tokenizer.eos_token_id, more]
    assert theirs.chat_template == tokenizer.chat_template and theirs.eos_token == tokenizer.eos_token
    for text in TEXTS:
        assert theirs(text, add_special_tokens=False)["input_ids"] == tokenizer(text)["input_ids"]


@pytest.mark.parametrize("kind", GGUF_TYPES)
def test_every_type_is_close_to_the_weights(tmp_path: Path, kind: str) -> None:
    tokenizer = bpe_tokenizer("gpt-2")
    model = gguf_model("llama", tokenizer)
    found = load_model(str(write(tmp_path / "tiny.gguf", model, tokenizer, kind)))
    largest = max(
        float((value - found.state_dict()[name]).abs().max() / value.abs().max())
        for name, value in model.state_dict().items()
    )
    low, high = {"f32": (0, 0), "f16": (1e-6, 5e-4), "bf16": (1e-4, 4e-3), "q8_0": (1e-3, 8e-3)}[kind]
    assert low <= largest <= high


@pytest.mark.parametrize(
    ("kind", "changes", "words"),
    [
        ("gpt2", {"n_embd": 64, "n_layer": 1, "n_head": 2}, "its architecture gpt2 is not llama or qwen2 or qwen3"),
        ("llama", {"attention_bias": True}, "its layers have biases"),
        ("llama", {"hidden_act": "gelu"}, "its activation is gelu"),
        ("qwen2", {"use_sliding_window": True}, "its attention has a sliding window"),
        ("qwen2", {"rope_parameters": {"rope_type": "linear", "rope_theta": 1e4, "factor": 2.0}}, "scaled by linear"),
    ],
)
def test_models_that_were_not_compared_are_refused(
    tmp_path: Path, kind: str, changes: dict[str, Any], words: str
) -> None:
    tokenizer = bpe_tokenizer("gpt-2")
    model = gguf_model(kind, tokenizer, **changes)
    with pytest.raises(UserError, match=f"{words}.*convert_hf_to_gguf.py"):
        write(tmp_path / "tiny.gguf", model, tokenizer)
    assert not list(tmp_path.iterdir())


def test_tokenizers_that_llama_cpp_would_split_otherwise_are_refused(tmp_path: Path) -> None:
    tokenizer = bpe_tokenizer("llama-bpe")
    model = gguf_model("llama", tokenizer)
    words = "not a byte-level BPE of a kind .*gpt-2, smollm, qwen2, llama-bpe.*convert_hf_to_gguf.py"
    with pytest.raises(UserError, match=words):
        write(tmp_path / "tiny.gguf", model, tiny_tokenizer())
    tokenizer.backend_tokenizer.model.ignore_merges = False
    with pytest.raises(UserError, match=words):
        write(tmp_path / "tiny.gguf", model, tokenizer)


def test_weights_beyond_float16_are_refused(tmp_path: Path) -> None:
    tokenizer = bpe_tokenizer("gpt-2")
    model = gguf_model("llama", tokenizer)
    with torch.no_grad():
        model.model.layers[1].mlp.up_proj.weight[3, 5] = 7e4
    with pytest.raises(
        UserError, match=r"blk\.1\.ffn_up\.weight has weights beyond the range of float16: use --gguf bf16"
    ):
        write(tmp_path / "tiny.gguf", model, tokenizer, "f16")
    write(tmp_path / "tiny.gguf", model, tokenizer, "bf16")
