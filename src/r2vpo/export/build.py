"""Build the folder of a run's model from one of its checkpoints: as it is, merged, or in another number format."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import Recipe, format_of
from r2vpo.config.run_directory import RunDirectory, step_of
from r2vpo.export.card import run_card
from r2vpo.export.folder import WEIGHTS, model_files, place_files, set_end_tokens
from r2vpo.models.card import NAME
from r2vpo.models.ends import own_ends
from r2vpo.trl.card import ADAPTERS, name_base
from r2vpo.whole import write_folder


@dataclass(frozen=True)
class Source:
    """A checkpoint to build a model from.

    Attributes:
        run: its run.
        recipe: the run's recipe.
        checkpoint: its folder; or `model/`, if the checkpoints of a finished run were deleted.
    """

    run: RunDirectory
    recipe: Recipe
    checkpoint: Path

    @property
    def step(self) -> int:
        """Return the optimizer step after which the weights were written."""
        if self.checkpoint == self.run.model:
            return int((self.run.read_summary() or {}).get("optimizer_steps", 0))
        return step_of(self.checkpoint)

    @property
    def adapters(self) -> bool:
        """Return whether it holds adapters, not whole weights."""
        return (self.checkpoint / ADAPTERS).is_file()


def write_model(
    source: Source,
    target: Path,
    *,
    also: Callable[[Path], None] = lambda folder: None,
    unless: Callable[[], bool | None] = lambda: None,
) -> None:
    """Write the model of a checkpoint as it is; its weights take no more space than the checkpoint's.

    Args:
        source: the checkpoint.
        target: the folder; an earlier one is replaced when the new one is complete.
        also: writes further files into the folder.
        unless: as `write_folder`.

    Raises:
        UserError: the checkpoint has no whole weights, or the run's records are damaged.
        OSError: the folder cannot be written.
    """
    files = model_files(source.checkpoint)

    def fill(folder: Path) -> None:
        also(folder)
        place_files(files, source.checkpoint, folder)
        if source.adapters:
            name_base(folder)
        finish_folder(source, folder, adapters=source.adapters, dtype=source.recipe.model.dtype)

    write_folder(target, fill, unless=unless)


def write_changed(
    source: Source,
    target: Path,
    model: Any,
    *,
    dtype: str,
    also: Callable[[Path], None] = lambda folder: None,
    unless: Callable[[], bool | None] = lambda: None,
) -> None:
    """Write a checkpoint's model with merged adapters, or with its weights in another number format.

    Args:
        source: the checkpoint.
        target: the folder; an earlier one is replaced when the new one is complete.
        model: what `load_whole` returned; its weights are converted in place.
        dtype: type of the weights that are written.
        also: writes further files into the folder, before the weights are converted.
        unless: as `write_folder`.
    """
    import torch

    files = [path for path in model_files(source.checkpoint) if path.suffix != WEIGHTS and _of_tokenizer(path)]

    def fill(folder: Path) -> None:
        also(folder)
        model.to(getattr(torch, dtype)).save_pretrained(folder)
        place_files(files, source.checkpoint, folder)
        finish_folder(source, folder, adapters=False, dtype=dtype)

    write_folder(target, fill, unless=unless)


def load_whole(source: Source) -> Any:
    """Load a checkpoint's model in float32, with merged adapters.

    Args:
        source: the checkpoint.

    Raises:
        UserError: the model cannot be read.
    """
    from r2vpo.models import load_model
    from r2vpo.weights import read_adapters

    recipe = source.recipe
    name = recipe.model.name if source.adapters else str(source.checkpoint)
    model = load_model(name, seed=recipe.model_seed, trust_remote_code=recipe.model.trust_remote_code)
    return read_adapters(model, str(source.checkpoint)).merge_and_unload() if source.adapters else model


def end_tokens(source: Source) -> list[int]:
    """Return the ids that end an answer of the model itself, without those that only the recipe's stop texts add.

    Args:
        source: the checkpoint.
    """
    path = source.checkpoint / "generation_config.json"
    declared = json.loads(path.read_text(encoding="utf-8")).get("eos_token_id") if path.is_file() else None
    return own_ends(
        source.recipe.model.name,
        load_its_tokenizer(source),
        seed=source.recipe.model_seed,
        trust_remote_code=source.recipe.model.trust_remote_code,
        chats=format_of(source.recipe) == "chat",
        declared=[declared] if isinstance(declared, int) else declared or [],
        stop=source.recipe.rollout.stop,
    )


def load_its_tokenizer(source: Source) -> Any:
    """Load the tokenizer that a checkpoint holds.

    Args:
        source: the checkpoint.
    """
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(
        source.checkpoint, trust_remote_code=source.recipe.model.trust_remote_code, local_files_only=True
    )


def finish_folder(source: Source, folder: Path, *, adapters: bool, dtype: str) -> None:
    """Write the model's own end tokens, and its card.

    Args:
        source: the checkpoint that the folder was built from.
        folder: the folder.
        adapters: whether it holds adapters.
        dtype: type of the weights in it.
    """
    if not adapters:
        set_end_tokens(folder, end_tokens(source))
    chat = load_its_tokenizer(source).chat_template is not None
    card = run_card(source.run, source.checkpoint, step=source.step, adapters=adapters, chat=chat, dtype=dtype)
    (folder / NAME).write_text(card, encoding="utf-8", errors="backslashreplace")  # names may not be UTF-8


def _of_tokenizer(path: Path) -> bool:
    return path.name not in ("config.json", "generation_config.json", ADAPTERS) and "index" not in path.name
