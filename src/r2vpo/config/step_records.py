"""The records of a run's steps: the last one of each, and whether there is one for every step, in order."""

import reprlib
from collections.abc import Iterable, Sequence
from itertools import pairwise
from pathlib import Path

from r2vpo.config.records import Record, read_records
from r2vpo.errors import UserError

_LAST_STEP = 2**53 - 1
"""Browsers do not hold larger whole numbers exactly."""


def latest_of_step(file: Path, *keys: str) -> list[Record]:
    """Read records in the order of their steps; of several with the same keys the last one counts.

    Args:
        file: the file of records.
        keys: what tells two records apart, the step among them.

    Raises:
        UserError: the file is damaged, or a record has no step.
    """
    records = read_records(file)
    for record in records:
        if type(step := record.get("step")) is not int or not 0 <= step <= _LAST_STEP:
            raise UserError(f"{file}: a record has the step {reprlib.repr(step)}: restore it from a copy")
    by_key = {tuple(str(record.get(key)) for key in keys): record for record in records}
    return sorted(by_key.values(), key=lambda record: int(record["step"]))


def check_complete(file: Path, records: Sequence[Record], wanted: Iterable[int]) -> None:
    """Refuse records of which a step is missing.

    Args:
        file: their file.
        records: the records.
        wanted: the steps.

    Raises:
        UserError: a step is missing.
    """
    there = {record["step"] for record in records}
    missing = next((number for number in wanted if number not in there), None)
    if missing is not None:
        raise UserError(
            f"{file}: step {missing} is missing, the file was cut off: restore it from a copy, resume "
            "from a checkpoint before that step (--checkpoint N), or start a new run"
        )


def check_order(file: Path) -> None:
    """Refuse a file in which a record is not of a later step than the one before.

    Args:
        file: the file of records.

    Raises:
        UserError: a record is not.
    """
    steps = [record["step"] for record in read_records(file)]
    for number, (before, after) in enumerate(pairwise(steps), start=2):
        if after <= before:
            raise UserError(
                f"{file}: line {number} is of step {after}, after step {before}: restore the file from a copy, "
                "or remove the duplicate lines"
            )
