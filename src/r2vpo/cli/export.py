"""``r2vpo export``: a run's model as a folder, merged or in another number format, as a GGUF file, or on the hub."""

from __future__ import annotations

import argparse
import shlex
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2vpo.checkpoint_files import DamagedCheckpoint, check_files
from r2vpo.cli.failures import Session
from r2vpo.config.numbers import byte_size
from r2vpo.config.run_directory import RunDirectory, open_run, step_of
from r2vpo.errors import UserError
from r2vpo.optional import require

ADAPTERS = "adapter_config.json"


@dataclass(frozen=True)
class Plan:
    """What to write and where.

    Attributes:
        run: the run.
        checkpoint: whose weights.
        folder: the model's folder, or None if only a GGUF file is wanted.
        gguf: the GGUF file, or None.
        out: the new folder that was named, or None if the folder of the run is written to.
    """

    run: RunDirectory
    checkpoint: Path
    folder: Path | None
    gguf: Path | None
    out: Path | None

    def refuse_taken(self) -> None:
        """Refuse a folder to export to that something is in already."""
        from r2vpo.export.folder import refuse_taken

        if self.out is not None:
            refuse_taken(self.out)


def export(arguments: argparse.Namespace, session: Session) -> None:
    """Run the command; what cannot be exported is refused before anything is loaded."""
    plan = _planned(arguments)
    plan.refuse_taken()
    if arguments.gguf is not None:
        require("gguf", "--gguf")
    if arguments.push is not None:
        from r2vpo.export.push import check_push

        check_push(arguments.push)
    from r2vpo.cli.train import quiet_bars

    if not arguments.debug:
        quiet_bars()
    _write(plan, arguments)
    for path in (plan.folder, plan.gguf):
        if path is not None:
            print(f"{path}  {byte_size(_size(path))}")
    if plan.gguf is not None:
        print(f"serve it with: llama-server -m {shlex.quote(str(plan.gguf))}")
    if arguments.push is not None and plan.folder is not None:
        from r2vpo.export.push import push

        print(f"pushed to {push(plan.folder, arguments.push, private=arguments.private)}")


def _planned(arguments: argparse.Namespace) -> Plan:
    run = open_run(arguments.run)
    checkpoint = _checkpoint(run, arguments.checkpoint)
    adapters = (checkpoint / ADAPTERS).is_file()
    if arguments.merge and not adapters:
        raise UserError(
            f"{run.path}: this run trained all the weights, so there is nothing to merge: leave --merge out"
        )
    if arguments.dtype and adapters and not arguments.merge:
        raise UserError(f"{run.path}: this run trained adapters, and --dtype changes whole weights: add --merge")
    if arguments.private and arguments.push is None:
        raise UserError("--private is for a repository on the hub: name one with --push")
    gone = checkpoint == run.model
    changes = [*(["merged"] if arguments.merge else []), *([arguments.dtype] if arguments.dtype else [])]
    steps = [] if gone or checkpoint == run.latest_checkpoint() else [str(step_of(checkpoint))]
    out = Path(arguments.out) if arguments.out else None
    wanted = not arguments.gguf or changes or arguments.push is not None
    folder = (out or run.path / "-".join(["model", *steps, *changes])) if wanted else None
    if gone and folder == run.model and arguments.push is None:
        raise UserError(f"{run.path}: its checkpoints are gone and {run.model} holds its model: name another --out")
    gguf = None
    if arguments.gguf:
        place = folder if folder is not None and (out is not None or arguments.push) else out or run.path
        gguf = place / f"{'-'.join([run.path.absolute().name, *steps, arguments.gguf])}.gguf"
    return Plan(run, checkpoint, folder, gguf, out)


def _checkpoint(run: RunDirectory, step: int | None) -> Path:
    """Return the wanted checkpoint, undamaged; `model/`, if the checkpoints of a finished run were deleted."""
    run.check_folders()
    found = run.all_checkpoints()
    if not found and step is None and run.model.is_dir() and run.read_summary() is not None:
        return run.model
    if not found:
        raise UserError(f"{run.path}: this run has no checkpoint yet, so there is no model to export: train it further")
    if step is not None and step not in found:
        raise UserError(
            f"{run.path}: there is no checkpoint of step {step}: choose one of {', '.join(map(str, found))}"
        )
    step = max(found) if step is None else step
    try:
        check_files(found[step])
    except DamagedCheckpoint as error:
        for other in sorted(set(found) - {step}, reverse=True):
            with suppress(DamagedCheckpoint):
                check_files(found[other])
                raise UserError(f"{error}: export another one with --checkpoint {other}") from None
        raise UserError(f"{error}: restore it from a copy") from None
    return found[step]


def _write(plan: Plan, arguments: argparse.Namespace) -> None:
    from r2vpo.export.build import Source, load_whole, write_changed, write_model
    from r2vpo.whole import write_file, write_folder

    source = Source(plan.run, plan.run.recipe(), plan.checkpoint)
    changed = bool(arguments.merge or arguments.dtype)
    model: Any = load_whole(source) if changed or plan.gguf is not None else None
    folder = plan.folder if plan.folder != plan.checkpoint else None

    def gguf(folder: Path) -> None:
        if plan.gguf is not None:
            _write_gguf(source, folder / plan.gguf.name, model, arguments.gguf)

    inside = plan.gguf is not None and plan.gguf.parent in (folder, plan.out)
    also = gguf if inside else lambda folder: None
    if plan.gguf is not None and not inside:
        write_file(plan.gguf, lambda new: _write_gguf(source, new, model, arguments.gguf))
    if folder is not None and changed:
        dtype = arguments.dtype or "float32"
        write_changed(source, folder, model, dtype=dtype, also=also, unless=plan.refuse_taken)
    elif folder is not None:
        write_model(source, folder, also=also, unless=plan.refuse_taken)
    elif inside and plan.out is not None:
        write_folder(plan.out, gguf, unless=plan.refuse_taken)


def _write_gguf(source: Any, path: Path, model: Any, kind: str) -> None:
    from r2vpo.export.build import end_tokens, load_its_tokenizer
    from r2vpo.export.gguf_model import write_gguf
    from r2vpo.models.base import describe_base

    write_gguf(
        path,
        model,
        load_its_tokenizer(source),
        kind=kind,
        name=source.run.path.absolute().name,
        licence=describe_base(source.recipe.model.name).licence,
        ends=end_tokens(source),
        what=str(source.run.path),
    )


def _size(path: Path) -> int:
    from r2vpo.export.folder import size_of

    return path.stat().st_size if path.is_file() else size_of(path)
