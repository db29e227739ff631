"""Rows of a data set on the hub, of a folder with the same layout, or of one file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from r2vpo.data.files import READERS, Row, kind_of, read_file
from r2vpo.errors import UserError
from r2vpo.hub import why_offline

_HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")


def read_rows(path: str, *, subset: str | None, split: str | None, revision: str | None, key: str) -> Iterator[Row]:
    """Read the rows of a data set.

    Args:
        path: a file, a folder or, if neither exists, a name on the hub.
        subset: subset of the data set; a file has none.
        split: split of the data set; None means `train`. A file has none.
        revision: commit, tag or branch on the hub.
        key: prefix of the recipe's keys, for error messages: `data.` or `data.held_out_`.

    Raises:
        UserError: the data set, subset or split does not exist or cannot be reached, or a row is malformed.
    """
    local = Path(path).expanduser()
    if local.is_file() or (kind_of(local) in READERS and not local.is_dir()):
        for name, value in (("subset", subset), ("split", split), ("revision", revision)):
            if value is not None:
                raise UserError(f"{key}{name} = {value}: the file {path} has none: leave it out")
        yield from read_file(local)
    elif local.is_dir():
        yield from _folder(local, subset, split or "train", key)
    elif _HUB_NAME.fullmatch(path):
        yield from _hub(path, subset, split or "train", revision, key)
    else:
        raise UserError(f"{key}path = {path}: no such file or folder: name an existing one, or owner/name on the hub")


def _folder(folder: Path, subset: str | None, split: str, key: str) -> Iterator[Row]:
    """Read the files of a split, as `datasets` finds them by their names or by the folder's README.md."""
    from datasets import load_dataset_builder

    with _one_line(str(folder), key):
        found = load_dataset_builder(str(folder.resolve()), name=subset).config.data_files
    if not found or split not in found:
        raise UserError(
            f"{key}split = {split}: the folder {folder} has no such split, it has "
            f"{', '.join(map(str, found or {})) or 'none'}: set {key}split to one of them"
        )
    for file in found[split]:
        yield from read_file(Path(file))


def _hub(name: str, subset: str | None, split: str, revision: str | None, key: str) -> Iterator[Row]:
    from datasets import load_dataset

    why_offline()
    with _one_line(name, key):
        rows = load_dataset(name, subset, split=split, revision=revision)
    if not len(rows):
        raise UserError(f"{key}path = {name}: the split {split} is empty: set {key}split to another one")
    with _one_line(name, key):  # a value may be one that Python has not, such as a date
        for number, row in enumerate(rows, start=1):
            yield f"{name}, split {split}, row {number}", row


@contextmanager
def _one_line(path: str, key: str) -> Iterator[None]:
    """Turn what `datasets` raises into a one-line error."""
    from datasets.exceptions import DatasetNotFoundError

    try:
        yield
    except Exception as error:  # the library and its dependencies raise many types
        raise UserError(f"{key}path = {path}: {_explained(error, key, DatasetNotFoundError)}") from error


def _explained(error: Exception, key: str, not_found: type[Exception]) -> str:
    said = " ".join(str(error).split()).rstrip(".") or type(error).__name__
    if isinstance(error, not_found):
        remedy = "correct the name or the revision, or log in if it is gated"
    elif isinstance(error, ConnectionError):
        remedy = "connect to the network, or name a local folder or file"
    elif "BuilderConfig" in said or "Config name is missing" in said:
        remedy = f"set {key}subset to one of them"
    elif "Unknown split" in said:
        remedy = f"set {key}split to one of them"
    else:
        remedy = f"check {key}path, its subset and its split"
    return f"{said if len(said) <= 400 else said[:397] + '...'}: {remedy}"
