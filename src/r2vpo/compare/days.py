"""Days: runs one after the other, each with the model that the one before it left, as one record."""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from r2vpo.compare.runs import mean_over
from r2vpo.config.recipe import Recipe
from r2vpo.config.records import Record
from r2vpo.config.run_directory import RunDirectory
from r2vpo.data.options import HabitOptions
from r2vpo.errors import UserError

Runner = Callable[[Recipe, Path, Callable[[], None]], tuple[RunDirectory, Record]]
"""Runs a recipe in a folder, or resumes what an earlier call left there; a new run first calls the last argument."""

_SUMS = ("optimizer_steps", "rollouts_generated", "rollouts_reused", "non_finite_steps", "wall_seconds")


def run_days(recipes: Sequence[Recipe], folder: Path, run: Runner) -> Record:
    """Run the days of a cell in turn, and return their record.

    Args:
        recipes: one for each day. The first day draws nothing from a store, since nothing is in it.
        folder: the cell's folder: each day's run is in ``day_<n>``, and the store beside them.
        run: runs one day.

    Returns:
        A record as of one run, over all days; `joined` says what it has in addition. Days after one whose weights are
        no longer finite are not run.
    """
    records: list[Record] = []
    left: Path | None = None
    for number, recipe in enumerate(recipes, 1):
        todays = _on_day(recipe, folder, left)
        store = _Store(folder, todays.replay.store)
        directory, record = run(todays, folder / f"day_{number}", partial(store.restore, number - 1))
        store.keep(number)
        records.append(record | {"stored": _stored(directory.read_metrics())})
        if record["diverged"]:
            break
        left = directory.latest_checkpoint()
        if left is None:
            raise UserError(f"{directory.path}: it has no checkpoint for the next day: remove {folder} and start again")
    return joined(records, recipes)


class _Store:
    """The store of a cell, with a copy after each day: a day that has to begin again finds it as it was before.

    Args:
        folder: the cell's folder.
        place: the store's file; None if there is none.
    """

    def __init__(self, folder: Path, place: str | None) -> None:
        self._folder, self._file = folder, None if place is None else Path(place)

    def keep(self, day: int) -> None:
        """Copy the store after a day, unless an earlier call has."""
        copy = self._copy(day)
        if self._file is None or copy.exists():
            return
        unfinished = copy.with_suffix(".unfinished")
        unfinished.unlink(missing_ok=True)
        with closing(sqlite3.connect(self._file)) as source, closing(sqlite3.connect(unfinished)) as target:
            source.backup(target)
        os.replace(unfinished, copy)

    def restore(self, day: int) -> None:
        """Make the store what it was after a day; empty for day 0."""
        if self._file is None:
            return
        for end in ("", "-wal", "-shm"):
            Path(f"{self._file}{end}").unlink(missing_ok=True)
        if day:
            shutil.copyfile(self._copy(day), self._file)

    def _copy(self, day: int) -> Path:
        return self._folder / f"after_day_{day}.db"


def _on_day(recipe: Recipe, folder: Path, left: Path | None) -> Recipe:
    """Return a day's recipe with the model that the day before left, and the cell's own store."""
    changed: dict[str, Any] = {}
    if recipe.replay.store is not None:
        store = str((folder / recipe.replay.store).resolve())
        changed["replay"] = replace(recipe.replay, store=store, from_=recipe.replay.from_ if left else None)
    if left is not None:
        changed["model"] = recipe.model.model_copy(update={"name": str(left.resolve())})
    return recipe.model_copy(update=changed)


def joined(records: Sequence[Record], recipes: Sequence[Recipe]) -> Record:
    """Return the record of several days.

    Args:
        records: those of the days that have run, each with `stored`.
        recipes: the recipes of all days.

    Returns:
        A record as of one run, whose evaluations measure the accuracy on the problems of their `day`. `days` has for
        each day its budget of rollouts, and what the store gave: the rows of other runs that were trained on, and the
        same times their share of effective weight.
    """
    last = records[-1]
    whole = last | {name: sum(record[name] for record in records) for name in _SUMS}
    for name in ("seconds_training", "seconds_generating"):
        known = [record[name] for record in records if record[name] is not None]
        whole[name] = sum(known) if known else None
    whole["learning_rate"], whole["recipe"] = records[0]["learning_rate"], records[0]["recipe"]
    whole["evaluations"], whole["course"] = [], {name: [] for name in last["course"]}
    whole["days"] = [
        {"budget": recipe.rounds * recipe.rows_per_round, "stored_rows": 0.0, "stored_worth": 0.0} for recipe in recipes
    ]
    labels = set.intersection(*(set(record["evaluations"][-1]["by_difficulty"]) for record in records))
    steps = rollouts = rounds = 0
    seconds = 0.0
    for number, (record, recipe) in enumerate(zip(records, recipes, strict=False)):
        whole["days"][number] |= record["stored"]
        for one in record["evaluations"]:
            parts = one["by_difficulty"]
            whole["evaluations"].append(
                one
                | {
                    "day": number + 1,
                    "step": one["step"] + steps,
                    "rollouts": one["rollouts"] + rollouts,
                    "seconds": one["seconds"] + seconds,
                    "accuracy": _accuracy(one, recipe),
                    "by_difficulty": {name: value for name, value in parts.items() if name in labels},
                }
            )
        course = record["course"]
        moved = {
            "round": [value + rounds for value in course["round"]],
            "rollouts": [None if value is None else value + rollouts for value in course["rollouts"]],
        }
        for name, values in (course | moved).items():
            whole["course"][name] += values
        steps, rollouts = steps + record["optimizer_steps"], rollouts + record["rollouts_generated"]
        rounds += len(course["round"])
        seconds += record["evaluations"][-1]["seconds"]
    del whole["stored"]
    return whole


def _accuracy(evaluation: Record, recipe: Recipe) -> float:
    """Return the accuracy on a day's problems: `habit` evaluates on all difficulties, equally many of each."""
    if isinstance(recipe.data, HabitOptions):
        return mean_over(evaluation, recipe.data.trained_on())
    return float(evaluation["accuracy"])


def _stored(metrics: Sequence[Record]) -> dict[str, float]:
    """Return the rows of other runs that a run has trained on, and their sum of shares of effective weight."""
    last = {record["round"]: record for record in metrics if record.get("stored_rows")}
    rows = [(record["stored_rows"], record["stored_share"]) for record in last.values()]
    return {"stored_rows": sum(row for row, _ in rows), "stored_worth": sum(row * share for row, share in rows)}
