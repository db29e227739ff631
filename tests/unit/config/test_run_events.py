"""The events of a run: kept in order, with time and step."""

import time
from pathlib import Path

import pytest

from r2vpo.config.run_events import EVENTS, append_event, read_events
from r2vpo.errors import UserError


def test_events_are_kept_in_order(tmp_path: Path) -> None:
    assert read_events(tmp_path) == []
    before = time.time()
    append_event(tmp_path, "started", "r2vpo 0.1.0", step=0)
    append_event(tmp_path, "warning", "no signal", step=12)
    first, second = read_events(tmp_path)
    assert (first["kind"], first["step"], first["text"]) == ("started", 0, "r2vpo 0.1.0")
    assert (second["kind"], second["step"]) == ("warning", 12)
    assert before <= first["time"] <= second["time"] <= time.time()


def test_a_half_written_event_is_left_out_and_a_damaged_one_named(tmp_path: Path) -> None:
    append_event(tmp_path, "started", "a", step=0)
    append_event(tmp_path, "resumed", "b", step=8)
    whole = (tmp_path / EVENTS).read_bytes()
    (tmp_path / EVENTS).write_bytes(whole[:-5])
    assert [event["kind"] for event in read_events(tmp_path)] == ["started"]
    (tmp_path / EVENTS).write_bytes(whole.replace(b"started", b"stopped"))
    with pytest.raises(UserError, match="line 1 is damaged"):
        read_events(tmp_path)
