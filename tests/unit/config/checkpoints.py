"""Checkpoints of a run that are only small files."""

from pathlib import Path

from r2vpo.checkpoint_files import write_list
from r2vpo.config.run_directory import RunDirectory


def write_checkpoint(run: RunDirectory, step: int, text: str = "weights") -> Path:
    folder = run.checkpoints / f"checkpoint-{step}"
    folder.mkdir()
    (folder / "model.safetensors").write_text(text)
    write_list(folder, name=folder.name)
    return folder
