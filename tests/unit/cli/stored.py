"""A store with two real runs, of which the second trained on rollouts of the first."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from transformers import LlamaForCausalLM

from tests.tiny import tiny_model, tiny_tokenizer, tiny_trainer


def model_folder(folder: Path) -> Path:
    """The tiny model and its tokenizer as a folder, which a command can load."""
    tiny_model().save_pretrained(folder)
    tiny_tokenizer().save_pretrained(folder)
    return folder


def trained(folder: Path, store: Path, model: Path, source: Any = None, **changes: Any) -> Any:
    """A run of four steps in two rounds; its folder's name is its name and its tag."""
    replay = {"store": str(store), "versions": 1, "from": source, "tags": [folder.name]}
    loaded = LlamaForCausalLM.from_pretrained(model)
    trainer = tiny_trainer(folder, model=loaded, replay=replay, run_name=folder.name, **changes)
    trainer.train()
    return trainer


def two_runs(folder: Path) -> Path:
    """The store `s.db` in a folder, with the runs monday and tuesday."""
    model = model_folder(folder / "model")
    trained(folder / "monday", folder / "s.db", model)
    trained(folder / "tuesday", folder / "s.db", model, {"tags": ["monday"]}, seed=4)
    return folder / "s.db"


def copied(store: Path, folder: Path) -> Path:
    """A copy of the store, which a test may change."""
    with closing(sqlite3.connect(store)) as source, closing(sqlite3.connect(folder / store.name)) as target:
        source.backup(target)
    return folder / store.name
