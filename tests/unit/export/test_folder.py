"""The folder of a model: what of a checkpoint belongs to it, and its weights are the checkpoint's own."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from r2vpo.errors import UserError
from r2vpo.export.folder import model_files, place_files, refuse_taken, set_end_tokens, size_of


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


@pytest.mark.parametrize("kind", ["file", "link", "full folder"])
def test_a_place_that_is_taken_is_refused(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "place"
    if kind == "file":
        place.touch()
    elif kind == "link":
        place.symlink_to(tmp_path / "nowhere")
    else:
        (place / "mine").mkdir(parents=True)
    with pytest.raises(UserError, match="place: it exists and is not an empty folder: name another one, or remove it"):
        refuse_taken(place)


def test_an_empty_folder_and_a_new_one_are_places(tmp_path: Path) -> None:
    refuse_taken(tmp_path)
    refuse_taken(tmp_path / "new")


def test_end_tokens_replace_those_of_training(tmp_path: Path) -> None:
    path = tmp_path / "generation_config.json"
    path.write_text(json.dumps({"eos_token_id": [2, 198], "pad_token_id": 2}))
    set_end_tokens(tmp_path, [2])
    assert json.loads(path.read_text()) == {"eos_token_id": 2, "pad_token_id": 2}
    set_end_tokens(tmp_path, [2, 3])
    assert json.loads(path.read_text())["eos_token_id"] == [2, 3]
