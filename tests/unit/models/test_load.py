"""What a folder lacks, or is instead of a model: one line that says it, with what to do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from transformers import T5Config, T5ForConditionalGeneration

from r2vpo.errors import UserError
from r2vpo.models import load_model, load_tokenizer
from tests.custom_code import separate_modules
from tests.tiny import tiny_model, tiny_tokenizer


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    tiny_model().save_pretrained(tmp_path)
    tiny_tokenizer().save_pretrained(tmp_path)
    return tmp_path


def refused(path: Path, load: object = load_model, **options: bool) -> str:
    with pytest.raises(UserError) as raised:
        load(str(path), **options)  # type: ignore[operator]
    line = str(raised.value)
    assert line.startswith(f"model.name {str(path)!r}: ") and "\n" not in line
    return line


def configure(folder: Path, **settings: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | settings))


def test_weights_that_are_cut_off(folder: Path) -> None:
    weights = folder / "model.safetensors"
    for size in (weights.stat().st_size // 2, 0):
        weights.write_bytes(weights.read_bytes()[:size])
        line = refused(folder)
        assert "is damaged or cut off" in line and line.endswith(": copy it again")


def test_a_tokenizer_that_is_not_there_or_damaged(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{")
    line = refused(folder, load_tokenizer)
    assert "its tokenizer cannot be read" in line and "save the tokenizer there" in line
    for path in folder.glob("tokenizer*"):
        path.unlink()
    line = refused(folder, load_tokenizer)
    assert "there is no tokenizer in it: save the tokenizer there with tokenizer.save_pretrained" in line


def test_a_type_that_transformers_does_not_know(folder: Path) -> None:
    configure(folder, model_type="superllm")
    line = refused(folder)
    assert "does not know the model type 'superllm'" in line and "save_pretrained" not in line


def test_a_model_that_writes_no_text(tmp_path: Path) -> None:
    sizes = dict(vocab_size=20, d_model=16, d_kv=8, d_ff=16, num_layers=1, num_heads=2)
    T5ForConditionalGeneration(T5Config(**sizes)).save_pretrained(tmp_path)
    line = refused(tmp_path)
    assert "is described by a T5Config, for which transformers has no causal language model" in line


def test_code_that_wants_a_package(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    separate_modules(monkeypatch, tmp_path / "modules")
    names = {"AutoConfig": "modeling_own.OwnConfig", "AutoModelForCausalLM": "modeling_own.Own"}
    configure(folder, model_type="own", auto_map=names)
    (folder / "modeling_own.py").write_text("import no_such_package\nclass OwnConfig: pass\nclass Own: pass\n")
    line = refused(folder, trust_remote_code=True)
    assert "no_such_package" in line and line.endswith(": install what it needs")


def test_what_is_no_folder_of_a_model(tmp_path: Path) -> None:
    packed = tmp_path / "model-q4.gguf"
    packed.write_bytes(b"GGUF")
    assert "not a GGUF file, or it is damaged" in refused(packed)
    assert f"(name its file, {packed})" in refused(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "model.safetensors"])
def test_a_damaged_model_of_the_cache_is_to_be_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, file: str
) -> None:
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path))
    load_model("tiny/random-llama")
    (damaged,) = tmp_path.rglob(file)
    damaged.write_bytes(damaged.read_bytes()[:40])
    with pytest.raises(
        UserError, match=r"which r2vpo built, is damaged \(.*\): delete that folder, and it will be built again"
    ):
        load_model("tiny/random-llama")
