"""The folder of one evaluation.

::

    evaluations/<suite>-<model>-<YYYYmmdd-HHMMSS>/
      config.yaml         what was requested, with everything resolved
      completions.jsonl   one object per problem, in the order of the suite
      summary.json        the result
      report.html
      results_<time>.json, samples_<suite>_<time>.jsonl   the result in the layout of lm-eval
      baseline/           the same files for the baseline model
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from r2vpo.config.errors import validated
from r2vpo.config.folder_lock import is_empty, new_folder
from r2vpo.config.recipe import differing_keys
from r2vpo.config.records import (
    append_record,
    check_digest,
    keep_records,
    read_object,
    read_records,
    write_object,
    write_with_digest,
)
from r2vpo.config.run_directory import COMPLETIONS
from r2vpo.config.yaml_files import RecipeDumper, read_mapping
from r2vpo.errors import UserError
from r2vpo.evaluation.completions import Answered
from r2vpo.evaluation.schema import EvaluationConfig

_CHANGES = {"problems": "its problems", "fingerprint": "the weights of its model"}


class EvaluationFolder:
    """One evaluation on disk.

    Args:
        path: an existing folder; `open_folder` and `make_folder` return one.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.config_file = path / "config.yaml"
        self.completions = path / COMPLETIONS
        self.summary = path / "summary.json"
        self.report = path / "report.html"

    def config(self) -> EvaluationConfig:
        """Return what was requested."""
        check_digest(self.config_file)
        return validated(EvaluationConfig, read_mapping(self.config_file, "evaluation"), source=str(self.config_file))

    def read(self) -> list[Answered]:
        """Return the problems that have been answered; a last line that was cut off is not an error.

        Raises:
            UserError: a line is not a record of an evaluation, or belongs to another problem.
        """
        records = read_records(self.completions)
        identity = self._identity()
        for number, record in enumerate(records):
            owner = record.pop("evaluation", None)
            if owner != identity:
                what = "is of another evaluation" if owner else "does not name its evaluation, as before r2vpo 0.1.0"
                raise UserError(
                    f"{self.completions}: line {number + 1} {what}: restore the file from a copy, or evaluate into a "
                    "new folder"
                )
            if record.get("problem") != number:
                raise UserError(
                    f"{self.completions}: line {number + 1} is not of problem {number}; lines were lost or duplicated: "
                    "restore the file from a copy, or evaluate into a new folder"
                )
        try:
            return [Answered.from_json(record) for record in records]
        except (KeyError, TypeError) as error:
            raise UserError(
                f"{self.completions}: not the completions of an evaluation ({error}): evaluate again into a new folder"
            ) from None

    def is_complete(self) -> bool:
        """Whether there is a result with the completions it was computed from; a damaged result is computed again."""
        try:
            summary = read_object(self.summary)
        except (OSError, ValueError):
            return False
        return summary.get("evaluation") == self._identity() and summary.get("problems") == len(self.read())

    def _identity(self) -> str:
        """What tells the records of this evaluation from others': a digest of all that was asked for."""
        return hashlib.sha256(self.config_file.read_bytes()).hexdigest()[:16]

    def whole_batches(self, prompts: Sequence[Any], size: int) -> list[Answered]:
        """Return the problems of whole batches, discarding those of a batch that was cut off.

        Args:
            prompts: the suite's prompts, in order.
            size: number of problems in a batch.

        Raises:
            UserError: the existing answers are to other problems.
        """
        done = self.read()
        for number, problem in enumerate(done):
            if number >= len(prompts) or problem.prompt != prompts[number]:
                raise UserError(
                    f"{self.completions}: line {number + 1} is not the suite's problem {number + 1}, the problems have "
                    "changed since: evaluate into a new folder"
                )
        keep = len(done) if len(done) == len(prompts) else len(done) - len(done) % size
        if keep < len(done):
            keep_records(self.completions, lambda record: int(record["problem"]) < keep)
        return done[:keep]

    def append(self, problems: Sequence[Answered]) -> None:
        """Append the problems of a batch, and wait until the disk has them."""
        identity = self._identity()
        for problem in problems:
            append_record(self.completions, problem.to_json() | {"evaluation": identity})
        with open(self.completions, "rb") as file:
            os.fsync(file.fileno())

    def write_summary(self, summary: Mapping[str, Any]) -> None:
        """Write `summary.json` in one step."""
        write_object(self.summary, {"evaluation": self._identity(), **summary})

    def read_summary(self) -> dict[str, Any]:
        """Return the result.

        Raises:
            UserError: there is no result because the evaluation is not complete.
        """
        try:
            return read_object(self.summary)
        except (OSError, ValueError):
            raise UserError(f"{self.path}: not complete: finish it with `r2vpo eval --resume {self.path}`") from None


def open_folder(path: Path | str) -> EvaluationFolder:
    """Open an evaluation's folder.

    Raises:
        UserError: there is no such folder, or it is not an evaluation's.
    """
    folder = EvaluationFolder(Path(path))
    is_run = (folder.path / "checkpoints").is_dir()
    if is_run or not folder.config_file.is_file():
        what = "this is a run" if is_run else f"not an evaluation, it has no {folder.config_file.name}"
        what = what if folder.path.is_dir() else "no such folder"
        raise UserError(f"{path}: {what}: give a folder that `r2vpo eval` made")
    return folder


def existing_folder(config: EvaluationConfig, out: Path | None) -> EvaluationFolder | None:
    """Return the evaluation to continue if `out` contains one.

    Args:
        config: the requested evaluation.
        out: the folder; None for a new one.

    Returns:
        The evaluation; None if there is none, or none that has answered anything.

    Raises:
        UserError: `out` contains something else, or an evaluation with other settings.
    """
    if out is None or not out.is_dir() or is_empty(out):
        return None
    folder = open_folder(out)
    folder.config()  # never overwrite anything in a folder that is not ours
    if not (folder.read() or folder.summary.exists() or (out / "baseline").exists()):
        return None
    _check_same(folder, config)
    return folder


def new_place(config: EvaluationConfig, out: Path | None, label: str) -> Path:
    """Make an empty folder for a new evaluation.

    Args:
        config: the requested evaluation.
        out: the folder; None makes a new, unique one under `evaluations`.
        label: the model's short name, used in the folder's name.

    Raises:
        UserError: the folder cannot be made.
    """
    stem = f"{config.suite.name}-{label}-{time.strftime('%Y%m%d-%H%M%S')}"
    with _writable(out or Path("evaluations")):
        if out is None:
            return new_folder(Path("evaluations"), stem)
        out.mkdir(parents=True, exist_ok=True)
        return out


def make_folder(config: EvaluationConfig, path: Path) -> EvaluationFolder:
    """Start a new evaluation in a folder.

    Args:
        config: the requested evaluation.
        path: an existing folder.

    Raises:
        UserError: the folder cannot be written.
    """
    folder = EvaluationFolder(path)
    text = yaml.dump(
        config.model_dump(mode="json"), Dumper=RecipeDumper, sort_keys=False, allow_unicode=True, width=100
    )
    with _writable(path):
        write_with_digest(folder.config_file, text)
        folder.completions.touch()
    return folder


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise
        raise UserError(f"{path}: {error.strerror}: choose a folder that can be written with --out") from None


def _check_same(folder: EvaluationFolder, config: EvaluationConfig) -> None:
    began = folder.config()
    if began.fingerprint is not None and config.fingerprint is None:
        raise UserError(
            f"{folder.path}: the model {began.weights} that it was started with is not there: put it back, or give the "
            "command in the folder where the evaluation was started"
        )
    different = differing_keys(config.model_copy(update={"threads": began.threads}), began)
    changed = [words for key, words in _CHANGES.items() if key in different]
    if changed and len(changed) == len(different):
        what = " and ".join(changed)
        raise UserError(f"{folder.path}: {what} have changed since it began: evaluate into a new folder")
    if different:
        verb = "differs" if len(different) == 1 else "differ"
        shown = ", ".join(different[:6]) + (f" and {len(different) - 6} more" if len(different) > 6 else "")
        raise UserError(
            f"{folder.path}: this evaluation was started with other settings, {shown} {verb}: name another --out, or "
            f"finish it with `r2vpo eval --resume {folder.path}`"
        )
