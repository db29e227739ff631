"""Every file of a checkpoint is listed, and nothing that differs from the list is taken."""

import json
import os
from pathlib import Path

import pytest

from r2vpo.checkpoint_files import LIST, DamagedCheckpoint, check_files, write_list


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    folder = tmp_path / "checkpoint-12"
    (folder / "optimizer").mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(bytes(range(256)))
    (folder / "optimizer" / "part-0").write_bytes(b"moments")
    (folder / "empty").touch()
    write_list(folder, name="checkpoint-12")
    return folder


def test_what_was_written_is_taken_and_more_files_do_no_harm(checkpoint: Path) -> None:
    listed = json.loads((checkpoint / LIST).read_text())["files"]
    assert {name: file["bytes"] for name, file in listed.items()} == {
        "empty": 0,
        "model.safetensors": 256,
        "optimizer/part-0": 7,
    }
    # echo -n moments | sha256sum
    assert listed["optimizer/part-0"]["sha256"] == "690a8d18f75dfaa79dd8134ac62cdad42fffe0f34cb78dd14e2d3aae3ae83ad3"
    (checkpoint / "notes.txt").write_text("mine")
    check_files(checkpoint)


@pytest.mark.parametrize("name", ["model.safetensors", "optimizer/part-0", "empty"])
def test_a_missing_file_is_named(checkpoint: Path, name: str) -> None:
    (checkpoint / name).unlink()
    with pytest.raises(DamagedCheckpoint, match=f"{name} is missing"):
        check_files(checkpoint)


@pytest.mark.parametrize("bit", [0, 7, 1000, 2047])
def test_one_flipped_bit_is_found_by_content_and_not_by_size(checkpoint: Path, bit: int) -> None:
    data = bytearray((checkpoint / "model.safetensors").read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    (checkpoint / "model.safetensors").write_bytes(data)
    check_files(checkpoint, contents=False)
    with pytest.raises(DamagedCheckpoint, match=r"model\.safetensors is damaged: its content is not what was written"):
        check_files(checkpoint)


def test_a_file_that_was_cut_short_is_found_by_its_size(checkpoint: Path) -> None:
    (checkpoint / "model.safetensors").write_bytes(bytes(range(255)))
    with pytest.raises(DamagedCheckpoint, match=r"model\.safetensors is damaged: it has 255 bytes of 256"):
        check_files(checkpoint, contents=False)


def test_without_its_list_a_checkpoint_is_not_complete(checkpoint: Path) -> None:
    (checkpoint / LIST).unlink()
    with pytest.raises(DamagedCheckpoint, match="checkpoint-12 is not complete"):
        check_files(checkpoint)


def test_a_list_of_an_earlier_version_is_called_that(checkpoint: Path) -> None:
    listed = json.loads((checkpoint / LIST).read_text())["files"]
    (checkpoint / LIST).write_text(json.dumps({"files": listed}))
    with pytest.raises(DamagedCheckpoint, match=r"is damaged, or r2vpo before 0\.1\.0 wrote it"):
        check_files(checkpoint)


def test_a_list_with_any_flipped_bit_is_refused_or_says_the_same(checkpoint: Path) -> None:
    whole = (checkpoint / LIST).read_bytes()
    known, refused = json.loads(whole), 0
    flips = range(0, 8 * len(whole), 7)  # every bit of a byte has its turn
    for flip in flips:
        data = bytearray(whole)
        data[flip // 8] ^= 1 << flip % 8
        (checkpoint / LIST).write_bytes(data)
        try:
            check_files(checkpoint)
        except DamagedCheckpoint:
            refused += 1
        else:
            assert json.loads(data) == known, "white space alone"
    assert refused > 0.85 * len(flips)


def test_another_checkpoints_content_under_this_name_is_refused(checkpoint: Path, tmp_path: Path) -> None:
    os.rename(checkpoint, tmp_path / "checkpoint-13")
    with pytest.raises(DamagedCheckpoint, match="checkpoint-13 holds checkpoint-12"):
        check_files(tmp_path / "checkpoint-13")
    os.rename(tmp_path / "checkpoint-13", tmp_path / "my copy")
    check_files(tmp_path / "my copy")


@pytest.mark.parametrize("change", ['"files": {}', '"files": {"model.safetensors": {"bytes": 1e999, "sha256": "x"}}'])
def test_a_list_that_was_changed_is_damaged(checkpoint: Path, change: str) -> None:
    (checkpoint / LIST).write_text(f'{{"checkpoint": "checkpoint-12", {change}, "sha256": "x"}}')
    with pytest.raises(DamagedCheckpoint, match="is damaged"):
        check_files(checkpoint, contents=False)


def test_a_model_may_be_what_is_left_of_a_checkpoint_but_not_damaged(checkpoint: Path) -> None:
    (checkpoint / "optimizer" / "part-0").unlink()
    check_files(checkpoint, pruned=True)
    (checkpoint / "model.safetensors").write_bytes(bytes(256))
    with pytest.raises(DamagedCheckpoint, match=r"model\.safetensors is damaged"):
        check_files(checkpoint, pruned=True)
    (checkpoint / LIST).unlink()
    check_files(checkpoint, pruned=True)
