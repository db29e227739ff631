"""The folder of one run: its content, creating it and opening it.

::

    runs/<name>-<YYYYmmdd-HHMMSS>/
      config.yaml        the recipe, everything resolved
      metrics.jsonl      one object per optimizer step
      evaluations.jsonl  one object per evaluation
      events.jsonl       starts, resumptions, notes and warnings, see run_events
      summary.json       the result
      status.json        what its process does now, or did last
      checkpoints/       checkpoint-<step>/, complete as soon as it has that name
      model/             the trained model, as others load it
      set_aside/         checkpoints later than the one that the run was resumed from
      tensorboard/       event files
      report.html
      .lock, .lock.json  which process works here, see folder_lock
"""

import errno
import os
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from r2vpo.config.folder_lock import new_folder
from r2vpo.config.recipe import Recipe, dump_recipe, load_recipe
from r2vpo.config.records import (
    Record,
    append_record,
    check_digest,
    keep_records,
    read_object,
    read_records,
    write_object,
    write_records,
    write_with_digest,
)
from r2vpo.config.step_records import check_complete, check_order, latest_of_step
from r2vpo.config.yaml_files import read_mapping
from r2vpo.core.nearest import did_you_mean
from r2vpo.errors import UserError

SUMMARY_KEYS = (
    "accuracy_before",
    "accuracy_after",
    "accuracy_by_difficulty",
    "problems",
    "rollouts_generated",
    "rollouts_reused",
    "optimizer_steps",
    "rounds_without_signal",
    "wall_seconds",
    "seconds_generating",
    "seconds_training",
    "peak_memory_bytes",
    "seed",
    "versions",
)
STORE_COUNTERS = ("rollouts_written", "rollouts_of_others", "rollouts_collected")
"""What the summary of a run with a store has in addition, as far as the run did it."""
POLICIES = "policies"
"""The folder of a run in which it publishes its policies for samplers."""
COMPLETIONS = "completions.jsonl"
"""The file that tells the folder of an evaluation from that of a run."""
_CHECKPOINT = re.compile(r"checkpoint-(\d+)")


class RunDirectory:
    """One run on disk.

    Args:
        path: an existing folder, as returned by ``create_run`` and ``open_run``.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config = path / "config.yaml"
        self.metrics = path / "metrics.jsonl"
        self.evaluations = path / "evaluations.jsonl"
        self.summary = path / "summary.json"
        self.status = path / "status.json"
        self.checkpoints = path / "checkpoints"
        self.model = path / "model"
        self.set_aside = path / "set_aside"
        self.tensorboard = path / "tensorboard"
        self.report = path / "report.html"

    def has_records(self) -> bool:
        """Return whether a run has worked here, even if its recipe is gone."""
        return any(os.path.lexists(path) for path in (self.config, self.metrics, self.evaluations, self.checkpoints))

    def check_folders(self) -> None:
        """Refuse a file, a pipe or a broken link in place of a folder of checkpoints.

        Raises:
            UserError: there is one; the message names it and the remedy.
        """
        for folder in (self.checkpoints, self.set_aside):
            if os.path.lexists(folder) and not folder.is_dir():
                raise UserError(f"{folder}: this is not a folder: restore it from a copy, or move it away")
        for entry in _entries(self.checkpoints):
            if entry.name.startswith("checkpoint-") and not entry.is_dir():
                raise UserError(
                    f"{entry}: this is not a folder, and a checkpoint may have to be written there: move it away"
                )

    def recipe(self) -> Recipe:
        """Return the recipe that the run was started with."""
        check_digest(self.config)
        recipe, given = load_recipe(self.config), read_mapping(self.config, "recipe")
        if missing := [name for name in Recipe.model_fields if name not in given]:
            raise UserError(f"{self.config}: it has no {missing[0]} and was cut off: restore it from a copy")
        return recipe

    def write_config(self, recipe: Recipe) -> None:
        """Write ``config.yaml`` with every default filled in; an earlier one is replaced atomically."""
        write_with_digest(self.config, dump_recipe(recipe))

    def append_metrics(self, record: Mapping[str, Any]) -> None:
        """Append the record of one optimizer step; non-finite numbers become null."""
        append_record(self.metrics, record)

    def append_evaluation(self, record: Mapping[str, Any]) -> None:
        """Append the record of an evaluation; it replaces one of the same step, which a killed run repeats."""
        known = read_records(self.evaluations)
        key = record.get("step"), record.get("split")
        others = [other for other in known if (other.get("step"), other.get("split")) != key]
        if len(others) < len(known):
            write_records(self.evaluations, [*others, record])
        else:
            append_record(self.evaluations, record)

    def read_metrics(self) -> list[Record]:
        """Read the records of the optimizer steps; if a step was written twice, the later record counts."""
        return latest_of_step(self.metrics, "step")

    def read_evaluations(self) -> list[Record]:
        """Read the records of the evaluations, one per step and split."""
        return latest_of_step(self.evaluations, "step", "split")

    def read_summary(self) -> Record | None:
        """Read the result; None while the run has none."""
        try:
            return read_object(self.summary)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise UserError(f"{self.summary}: {error}: move it away and finish the run again with --resume") from None

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write ``summary.json`` atomically.

        Raises:
            ValueError: one of ``SUMMARY_KEYS`` is missing.
        """
        missing = [key for key in SUMMARY_KEYS if key not in summary]
        if missing:
            raise ValueError(f"the summary lacks {', '.join(missing)}: add it")
        write_object(self.summary, summary)

    def write_status(self, status: Mapping[str, Any]) -> None:
        """Write ``status.json`` for those who look at the run from outside; a run does not end because that fails."""
        with suppress(OSError, UserError):
            write_object(self.status, status)

    def read_status(self) -> Record:
        """Read what the run's process does now or did last; empty if it is not known."""
        try:
            return read_object(self.status)
        except (OSError, ValueError, UserError):
            return {}

    def rewind(self, step: int) -> None:
        """Remove everything after a step, before the run resumes from its checkpoint.

        Args:
            step: optimizer step of the checkpoint; later records and the result are removed.
                Later checkpoints are set aside, because the run will write new ones under their names.

        Raises:
            UserError: a file of records is damaged; nothing was changed.
        """
        self.check_records(step)
        self.check_folders()
        for number, checkpoint in self.all_checkpoints().items():
            if number > step:
                os.replace(checkpoint, new_folder(self.set_aside, checkpoint.name))
        self.summary.unlink(missing_ok=True)
        keep_records(self.metrics, lambda record: record.get("step", 0) <= step)
        keep_records(self.evaluations, lambda record: record.get("step", 0) <= step)

    def check_records(self, step: int) -> None:
        """Check that all records of a run up to a step exist.

        Args:
            step: step of a checkpoint, or of the run's end.

        Raises:
            UserError: a file is damaged, or a step up to this one or an evaluation is missing.
        """
        every = self.recipe().evaluated_every or step + 1
        metrics, evaluations = self.read_metrics(), self.read_evaluations()  # a damaged file before a missing step
        check_complete(self.metrics, metrics, range(1, step + 1))
        check_complete(self.evaluations, evaluations, range(0, step + 1, every) if step else ())
        check_order(self.metrics)
        check_order(self.evaluations)

    def all_checkpoints(self) -> dict[int, Path]:
        """Return the checkpoints by step, in order.

        A checkpoint gets its name by one rename once all of it is written.
        """
        found = {
            int(match[1]): entry
            for entry in _entries(self.checkpoints)
            if (match := _CHECKPOINT.fullmatch(entry.name)) and entry.is_dir()
        }
        return dict(sorted(found.items()))

    def latest_checkpoint(self) -> Path | None:
        """Return the checkpoint of the highest step, or None."""
        return self.checkpoint(None)

    def checkpoint(self, step: int | None) -> Path | None:
        """Return the checkpoint of a step, or of the highest step if `step` is None; None if there is none."""
        found = self.all_checkpoints()
        return found.get(max(found, default=0) if step is None else step)


def step_of(checkpoint: Path) -> int:
    """Return the optimizer step after which a checkpoint was written, from its name."""
    return int(checkpoint.name.rpartition("-")[2])


def create_run(recipe: Recipe, runs_dir: Path = Path("runs")) -> RunDirectory:
    """Create a new folder ``<runs_dir>/<name>-<YYYYmmdd-HHMMSS>`` with its ``config.yaml``; none is ever reused.

    Raises:
        UserError: the folder cannot be created.
    """
    refuse_undecodable(runs_dir)
    stem = f"{recipe.name}-{time.strftime('%Y%m%d-%H%M%S')}"
    try:
        run = RunDirectory(new_folder(runs_dir, stem))
        run.checkpoints.mkdir()
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{runs_dir}: {error.strerror}: choose a folder that can be written with --runs-dir") from None
    run.write_config(recipe)
    return run


def open_run(path: Path | str) -> RunDirectory:
    """Open the folder of a run.

    Raises:
        UserError: the folder does not exist, or is not a run's.
    """
    path = Path(path)
    refuse_undecodable(path)
    if not path.is_dir():
        if path.exists():
            raise UserError(f"{path}: this is a file, a run is a folder: give {path.parent}")
        raise UserError(f"{path}: no such run{_nearest_run(path)}")
    if (path / COMPLETIONS).is_file():
        raise UserError(f"{path}: this is an evaluation: give a folder that `r2vpo train` made")
    if not (path / "config.yaml").is_file():
        raise UserError(f"{path}: not a run, it has no config.yaml: give a folder that `r2vpo train` made")
    return RunDirectory(path)


def refuse_undecodable(path: Path) -> None:
    """Refuse a folder whose name is not UTF-8: safetensors can neither write nor read files there.

    Args:
        path: the folder, which need not exist.

    Raises:
        UserError: its name is not UTF-8.
    """
    try:
        str(path.absolute()).encode("utf-8")
    except UnicodeEncodeError:
        raise UserError(
            f"{str(path)!r}: its name is not UTF-8, so no weights can be written there: rename it"
        ) from None


def _entries(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _nearest_run(path: Path) -> str:
    names = [entry.name for entry in _entries(path.parent) if (entry / "config.yaml").is_file()]
    last = f"the last run there is {path.parent / names[-1]}" if names else f"{path.parent} holds no runs"
    return did_you_mean(path.name, names, f": {last}", show=path.parent.joinpath)
