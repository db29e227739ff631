"""What to do with the model of a finished run, as lines below its result: load, evaluate, export, serve, free space."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

from r2vpo.config.numbers import byte_size
from r2vpo.config.run_directory import RunDirectory

SUITE, POSITIONS = "arithmetic", 512
"""A suite that needs no download, and the positions that its problems and their answers take at most."""


def next_steps(run: RunDirectory, program: str) -> list[tuple[str, str]]:
    """Return what to do and the command or expression that does it; nothing if the run has no `model/`.

    Args:
        run: a finished run.
        program: how this program was called, so that a printed command works when it is typed in.
    """
    from r2vpo.export.folder import size_of

    if not run.model.is_dir():
        return []
    path, model = shlex.quote(str(run.path)), shlex.quote(str(run.model))
    base = _base(run.model)
    if base is None:
        load = f'transformers.AutoModelForCausalLM.from_pretrained("{run.model}")'
        export, serve = f"{program} export {path} {_format(run.model)}", f"vllm serve {model}"
    else:
        load = f'peft.PeftModel.from_pretrained(r2vpo.load_model("{base}"), "{run.model}")'
        export, serve = f"{program} export {path} --merge", f"vllm serve {model}-merged, after that export"
    kept = size_of(run.checkpoints, others_than=run.model)
    return [
        ("model", f"{run.model} ({byte_size(size_of(run.model))})"),
        ("load it", load),
        *([("evaluate it", f"{program} eval {path} --suite {SUITE}")] if _has_room(run.model) else []),
        ("export it", export),
        ("serve it", serve),
        ("free space", f"rm -r {shlex.quote(str(run.checkpoints))}  ({byte_size(kept)}, needed only for --resume)"),
    ]


def _base(model: Path) -> str | None:
    path = model / "adapter_config.json"
    return json.loads(path.read_text(encoding="utf-8"))["base_model_name_or_path"] if path.is_file() else None


def _format(model: Path) -> str:
    """Return an export that suits the model: a GGUF file, if its architecture and tokenizer can be written as one."""
    from r2vpo.export.gguf_model import ARCHITECTURES
    from r2vpo.export.gguf_tokenizer import can_be_written

    is_written = _config(model).get("model_type") in ARCHITECTURES and can_be_written(model)
    return "--gguf q8_0" if is_written else "--dtype bfloat16"


def _has_room(model: Path) -> bool:
    positions = _config(model).get("max_position_embeddings")
    return not isinstance(positions, int) or positions >= POSITIONS


def _config(model: Path) -> dict[str, Any]:
    """Return the model's configuration; adapters have none."""
    path = model / "config.json"
    found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    return found
