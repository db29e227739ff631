"""Whether and from where a run can be resumed."""

import shlex
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from r2vpo.checkpoint_files import DamagedCheckpoint, check_files
from r2vpo.config.run_directory import RunDirectory, open_run
from r2vpo.errors import UserError


def require_checkpoint(path: Path | str, step: int | None = None, *, arguments: Sequence[str] = ()) -> Path:
    """Return a checkpoint of a run after checking that it is undamaged.

    Args:
        path: the run's folder.
        step: step of the checkpoint; None takes the last one.
        arguments: further arguments of `r2vpo train`, repeated in the suggested command.

    Raises:
        UserError: the folder is not a run's, it has no such checkpoint, or the checkpoint is damaged; the message
            names one from which the run can resume.
    """
    run = open_run(path)
    run.check_folders()
    found = run.all_checkpoints()
    if not found:
        raise UserError(
            f"{run.path}: no checkpoint was written yet, so the run cannot be resumed: start again without --resume"
        )
    step = max(found) if step is None else step
    if step not in found:
        there = ", ".join(map(str, found))
        raise UserError(f"{run.path}: there is no checkpoint of step {step}: choose one of {there}")
    try:
        check_files(found[step])
    except DamagedCheckpoint as error:
        raise UserError(f"{error}: {_way_on(run, [number for number in found if number < step], arguments)}") from None
    return found[step]


def refuse_finished(run: RunDirectory, step: int, max_steps: int) -> None:
    """Refuse to resume a run that has done all of its steps.

    Args:
        run: its folder.
        step: step of the checkpoint.
        max_steps: `trainer.max_steps` of the recipe.

    Raises:
        UserError: the run already has its result.
    """
    if step >= max_steps and run.read_summary() is not None:
        raise UserError(
            f"{run.path}: this run has done {step} of trainer.max_steps = {max_steps}: to make it longer, --set "
            f"trainer.max_steps={2 * step}"
        )


def _way_on(run: RunDirectory, earlier: list[int], arguments: Sequence[str]) -> str:
    """Return a hint with the command that resumes from the newest undamaged earlier checkpoint."""
    for step in reversed(earlier):
        with suppress(DamagedCheckpoint):
            check_files(run.all_checkpoints()[step])
            command = shlex.join(["r2vpo", "train", *arguments, "--resume", str(run.path), "--checkpoint", str(step)])
            return f"resume from the one before it with: {command}"
    return "no earlier checkpoint is complete: start a new run"
