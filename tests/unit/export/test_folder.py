"""The folder of a model: complete or as it was, and its weights are the checkpoint's own."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from r2vpo.errors import UserError
from r2vpo.export.folder import model_files, place_files, set_end_tokens, size_of, write_folder


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-4"
    folder.mkdir()
    save_file({"weight": torch.ones(1000)}, folder / "model.safetensors")
    for name in ("config.json", "tokenizer.json", "trainer_state.json", "r2vpo_files.json"):
        (folder / name).write_text("{}")
    for name in ("optimizer.pt", "training_args.bin", "rng_state.pth", "r2vpo_state_0.pt", "README.md"):
        (folder / name).write_text("training")
    return folder


def test_only_the_model_is_taken_and_its_weights_take_no_space(checkpoint: Path, tmp_path: Path) -> None:
    files = model_files(checkpoint)
    assert {path.name for path in files} == {"config.json", "model.safetensors", "tokenizer.json"}
    target = tmp_path / "model"
    target.mkdir()
    place_files(files, checkpoint, target)
    assert (target / "model.safetensors").samefile(checkpoint / "model.safetensors")
    assert not (target / "config.json").samefile(checkpoint / "config.json")
    whole, weights = size_of(checkpoint), (checkpoint / "model.safetensors").stat().st_size
    assert size_of(checkpoint, others_than=target) == whole - weights
    save_file({"weight": torch.zeros(1000)}, target / "model.safetensors")  # as save_pretrained into that folder does
    assert load_file(checkpoint / "model.safetensors")["weight"].sum() == 1000
    shutil.rmtree(checkpoint)
    assert load_file(target / "model.safetensors")["weight"].sum() == 0


def test_without_hard_links_the_weights_are_copied(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("no links on this disk")

    monkeypatch.setattr("os.link", refuse)
    (tmp_path / "model").mkdir()
    place_files(model_files(checkpoint), checkpoint, tmp_path / "model")
    assert (tmp_path / "model" / "model.safetensors").read_bytes() == (checkpoint / "model.safetensors").read_bytes()


def test_parts_of_processes_are_no_model(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"no whole weights in it.*FULL_STATE_DICT"):
        model_files(checkpoint)


def test_a_folder_is_replaced_when_the_new_one_is_complete(tmp_path: Path) -> None:
    target = tmp_path / "model"
    write_folder(target, lambda folder: (folder / "a").write_text("first") and None)

    def fail(folder: Path) -> None:
        (folder / "a").write_text("half")
        raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        write_folder(target, fail)
    assert (target / "a").read_text() == "first" and [path.name for path in tmp_path.iterdir()] == ["model"]
    write_folder(target, lambda folder: (folder / "b").write_text("second") and None)
    assert [path.name for path in target.iterdir()] == ["b"] and [path.name for path in tmp_path.iterdir()] == ["model"]
    assert (target / "b").stat().st_mode & 0o777 == 0o644


def test_end_tokens_replace_those_of_training(tmp_path: Path) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [2, 198], "pad_token_id": 2}))
    set_end_tokens(tmp_path, [2])
    assert json.loads(path.read_text()) == {"eos_token_id": 2, "pad_token_id": 2}
    set_end_tokens(tmp_path, [2, 3])
    assert json.loads(path.read_text())["eos_token_id"] == [2, 3]


def test_an_interrupt_between_the_two_renames_restores_the_former_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, replace = tmp_path / "model", os.replace
    target.mkdir()
    (target / "mine").touch()

    def interrupted(source: Path, place: Path) -> None:
        if place == target and (source / "new").exists():
            raise KeyboardInterrupt
        replace(source, place)

    monkeypatch.setattr("os.replace", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(target, lambda folder: (folder / "new").touch())
    assert [path.name for path in tmp_path.iterdir()] == ["model"] and (target / "mine").exists()
