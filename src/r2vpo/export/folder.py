"""The folder of a trained model: the files of a checkpoint that make up the model, without what resumes training."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from r2vpo.checkpoint_files import LIST
from r2vpo.errors import UserError
from r2vpo.models.card import NAME

WEIGHTS = ".safetensors"
_SUFFIXES = frozenset({WEIGHTS, ".json", ".model", ".txt", ".jinja", ".py"})
_OF_TRAINING = frozenset({"trainer_state.json", LIST, NAME})


def model_files(checkpoint: Path) -> list[Path]:
    """Return the files of a checkpoint that belong to the model: weights, settings, tokenizer and chat template.

    Args:
        checkpoint: the checkpoint.

    Raises:
        UserError: it has no weights, as when sharded training did not gather them.
    """
    found = [
        path
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file() and path.suffix in _SUFFIXES and path.name not in _OF_TRAINING
    ]
    if not any(path.suffix == WEIGHTS and path.parent == checkpoint for path in found):
        raise UserError(
            f"{checkpoint}: there are no whole weights in it, because each process saved its part: for FSDP set "
            "fsdp_state_dict_type: FULL_STATE_DICT, for ZeRO-3 stage3_gather_16bit_weights_on_model_save: true, or "
            "join the parts with `accelerate merge-weights`"
        )
    return found


def place_files(files: Iterable[Path], source: Path, target: Path) -> None:
    """Put files of a checkpoint into another folder: weights as further names of the same data, the rest as copies.

    A weight file takes no more space then, and stays when the checkpoint is deleted. Writers of safetensors replace a
    file and never change it in place. On a disk without hard links it is copied.

    Args:
        files: files below `source`.
        source: the checkpoint.
        target: an existing folder.
    """
    for path in files:
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == WEIGHTS:
            with suppress(OSError):
                os.link(path, place)
                continue
        shutil.copyfile(path, place)


def refuse_taken(folder: Path) -> None:
    """Refuse a place for a new folder that something is in already.

    Args:
        folder: the place.

    Raises:
        UserError: it is a file, a link, a folder with content, or a mount point.
    """
    if folder.is_symlink() or (folder.exists() and (not folder.is_dir() or any(folder.iterdir()))):
        raise UserError(f"--out {folder}: it exists and is not an empty folder: name another one, or remove it")
    if folder.is_mount():
        raise UserError(f"--out {folder}: it is where a disk is mounted: name a folder in it, which is made then")


def set_end_tokens(folder: Path, ends: list[int]) -> None:
    """Write the model's own end tokens into `generation_config.json`, in place of those of the training.

    Args:
        folder: of a model.
        ends: ids that end an answer.
    """
    path = folder / "generation_config.json"
    settings = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    settings["eos_token_id"] = ends[0] if len(ends) == 1 else ends
    path.write_text(json.dumps(settings, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def size_of(folder: Path, *, others_than: Path | None = None) -> int:
    """Return the bytes of a folder's files, each counted once however many names it has.

    Args:
        folder: the folder.
        others_than: leave out what has a name below this folder too, as its deletion would free nothing.
    """
    kept = {_inode(path) for path in _files(others_than)} if others_than is not None else set()
    sizes = {_inode(path): path.stat().st_size for path in _files(folder)}
    return sum(size for inode, size in sizes.items() if inode not in kept)


def _files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()] if folder.is_dir() else []


def _inode(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_dev, found.st_ino
