"""``r2vpo runs``: the state of every run in a folder, and a check of whether a run is damaged."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from r2vpo.cli.failures import Session
from r2vpo.cli.table import table
from r2vpo.config.folder_lock import holder
from r2vpo.config.numbers import NOTHING, byte_size, percent
from r2vpo.config.run_directory import open_run
from r2vpo.config.run_state import RunState, problems, runs_in, state_of
from r2vpo.errors import UserError


def runs(arguments: argparse.Namespace, session: Session) -> None:
    """List the runs, or check one.

    Raises:
        UserError: the run is damaged, after a line for each damaged part; or there is no such run or folder.
    """
    match arguments.what:
        case []:
            found = [state_of(run) for run in runs_in(Path(arguments.runs_dir))]
            print(json.dumps([asdict(state) for state in found], indent=2) if arguments.json else _table(found))
        case ["check", run]:
            _check(run, as_json=arguments.json)
        case _:
            raise UserError("runs: give no argument for a list, or `check RUN` for one run")


def _table(found: list[RunState]) -> str:
    if not found:
        return "no runs"
    rows = [("run", "state", "step", "checkpoint", "accuracy", "size")]
    for state in found:
        rows.append(
            (
                state.name,
                state.state,
                str(state.step),
                NOTHING if state.checkpoint is None else str(state.checkpoint),
                percent(state.accuracy),
                byte_size(state.bytes),
            )
        )
    return "\n".join([table(rows), *(f"{state.name}: {state.because}" for state in found if state.because)])


def _check(name: str, *, as_json: bool) -> None:
    run = open_run(name)
    if working := holder(run.path):
        raise UserError(f"{run.path}: {working} works here: check it when that is done")
    found = problems(run, contents=True)
    checkpoints = list(run.all_checkpoints())
    if as_json:
        print(json.dumps({"run": str(run.path), "checkpoints": checkpoints, "damaged": found}, indent=2))
    else:
        print(*found, sep="\n", end="\n" if found else "")
    if found:
        raise UserError(f"{run.path}: damaged in {len(found)} {'place' if len(found) == 1 else 'places'}, see above")
    if not as_json:
        steps = ", ".join(map(str, checkpoints)) or "none"
        print(f"{run.path}: intact; checkpoints: {steps}")
