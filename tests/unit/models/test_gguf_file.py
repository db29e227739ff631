"""A GGUF file as a model: converted once, said when it was quantised, and one line for one that cannot be read."""

from __future__ import annotations

import json
import logging
import resource
import struct
from pathlib import Path
from typing import Any

import pytest
import torch

from r2vpo.errors import UserError
from r2vpo.export.gguf_model import write_gguf
from r2vpo.models import load_model, load_tokenizer, resolve_model
from r2vpo.models.base import describe_base
from r2vpo.models.catalog import documented_name
from tests.bpe import bpe_tokenizer, gguf_model


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("gguf")


@pytest.fixture(scope="module")
def model(folder: Path) -> Any:
    """A model and its files, f32.gguf and q8_0.gguf."""
    tokenizer = bpe_tokenizer("qwen2")
    made = gguf_model("qwen2", tokenizer)
    for kind in ("f32", "q8_0"):
        path, ends = folder / f"{kind}.gguf", [tokenizer.eos_token_id]
        write_gguf(path, made, tokenizer, kind=kind, name="x", licence="mit", ends=ends, what="x")
    return made


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("R2VPO_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_file_is_converted_once(model: Any, folder: Path, cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "f32.gguf"
    with caplog.at_level(logging.WARNING, logger="r2vpo.models.gguf_file"):
        found = load_model(str(path))
        load_tokenizer(str(path))
    assert [record.message for record in caplog.records] == [
        f"{path} is converted to float32, once, in {resolve_model(str(path))}"
    ]
    assert all(torch.equal(value, found.state_dict()[name]) for name, value in model.state_dict().items())
    assert documented_name(found.config._name_or_path) == str(path)
    assert describe_base(str(path)).licence == "mit"
    assert len([entry for entry in (cache / "models").iterdir() if entry.is_dir()]) == 1


def test_a_quantised_file_says_so_and_is_spread(model: Any, folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = folder / "q8_0.gguf"
    with caplog.at_level(logging.WARNING, logger="r2vpo.models.gguf_file"):
        found = load_model(str(path))
    assert "is quantised (Q8_0): its weights are dequantised to float32, once" in caplog.text
    weights = found.state_dict()["model.layers.0.mlp.up_proj.weight"]
    exact = model.state_dict()["model.layers.0.mlp.up_proj.weight"]
    assert 0 < float((weights - exact).abs().max()) < 0.02 * float(exact.abs().max())
    # Quantised weights are few numbers of a block; spread, hardly any two are alike.
    assert len(weights.unique()) > 0.9 * weights.numel()


def test_a_conversion_shows_no_bar(model: Any, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    shown = logging.getLogger("r2vpo.models.gguf_file")
    shown.disabled = True
    try:
        resolve_model(str(folder / "q8_0.gguf"))
    finally:
        shown.disabled = False
    assert capfd.readouterr() == ("", "")


HEAD = b"GGUF" + struct.pack("<IQQQ", 3, 0, 1, 1) + b"a"  # one fact, named "a"


@pytest.mark.parametrize(("content", "words"), [
    (b"", "not a GGUF file, or it is damaged"),
    (b"GGUF", "not a GGUF file, or it is damaged"),
    (b"PK\x03\x04" + bytes(64), "not a GGUF file, or it is damaged"),
    ("half", "not a GGUF file, or it is damaged"),
    ("header", "not a GGUF file, or it is damaged"),
    (HEAD + struct.pack("<IIQ", 9, 4, 2**40), "it ends in the middle of a value"),
    (HEAD + struct.pack("<IQ", 8, 2**62), "it ends in the middle of a value"),
    (HEAD + struct.pack("<I", 9) + struct.pack("<IQ", 9, 1) * 5000, "not a GGUF file, or it is damaged"),
])  # fmt: skip
def test_damaged_files_are_one_line(model: Any, folder: Path, tmp_path: Path, content: Any, words: str) -> None:
    path = tmp_path / "model.gguf"
    whole = (folder / "f32.gguf").read_bytes()
    path.write_bytes({"half": whole[: len(whole) // 2], "header": whole[:200]}.get(content, content))
    with pytest.raises(UserError, match=words) as caught:
        load_model(str(path))
    assert "\n" not in str(caught.value) and str(path) in str(caught.value)


def write_metadata(path: Path, architecture: str, **settings: int) -> Path:
    import numpy
    from gguf import GGUFWriter

    writer = GGUFWriter(path, architecture)
    for name, value in settings.items():
        writer.add_uint16(name.replace("_", "."), value)
    writer.add_tensor("token_embd.weight", numpy.zeros((4, 4), dtype=numpy.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_files_that_transformers_cannot_read(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"of the architecture clip .*take the model in transformers' format") as caught:
        load_model(str(write_metadata(tmp_path / "a.gguf", "clip")))
    assert "\n" not in str(caught.value)
    with pytest.raises(
        UserError, match=r"this is one of 3 parts: join them with llama\.cpp's `llama-gguf-split --merge`"
    ):
        load_model(str(write_metadata(tmp_path / "b.gguf", "llama", split_count=3)))
    with pytest.raises(UserError, match=r"no config\.json \(name its file, .*a\.gguf\)"):
        load_model(str(tmp_path))


def test_the_folder_in_the_cache_says_what_it_was_made_of(model: Any, folder: Path) -> None:
    made = Path(resolve_model(str(folder / "f32.gguf")))
    assert json.loads((made / "r2vpo_source.json").read_text()) == {"file": str(folder / "f32.gguf")}


def test_a_full_disk_is_no_fault_of_the_file(model: Any, folder: Path) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        with pytest.raises(UserError, match=r"cannot write the model cache .* larger than .*: raise the limit"):
            load_model(str(folder / "f32.gguf"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
