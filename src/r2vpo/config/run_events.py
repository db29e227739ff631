"""What happened to a run itself: when it was started and resumed, and the notes and warnings that it showed."""

import time
from pathlib import Path

from r2vpo.config.records import Record, append_record, read_records

EVENTS = "events.jsonl"


def append_event(run: Path, kind: str, text: str, *, step: int) -> None:
    """Append one event to a run's ``events.jsonl``.

    Args:
        run: the run's folder.
        kind: `started`, `resumed`, `note` or `warning`.
        text: one line.
        step: optimizer steps so far.
    """
    append_record(run / EVENTS, {"kind": kind, "step": step, "text": text, "time": time.time()})


def read_events(run: Path) -> list[Record]:
    """Read the events of a run in order; a run from before they were recorded has none.

    Raises:
        UserError: a line is damaged.
    """
    return read_records(run / EVENTS)
