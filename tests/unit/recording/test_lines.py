"""Logs are read line by line, plain or compressed."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import pytest

from r2vpo.errors import UserError
from r2vpo.recording.left_out import Place, Unusable
from r2vpo.recording.lines import at_path, lines_of, row_in, time_of


def test_files_are_one_log(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_bytes(b'{"a": 1}\n\n{"a": 2}')
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"a": 3}\n'))
    found = list(lines_of([tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz"]))
    assert [(place, row_in(text)["a"]) for place, text in found] == [
        (Place(0, 1), 1),
        (Place(0, 3), 2),
        (Place(1, 1), 3),
    ]


def test_a_damaged_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress(b'{"a": 3}\n' * 99)[:-9])
    with pytest.raises(UserError, match=r"b\.jsonl\.gz: "):
        list(lines_of([tmp_path / "b.jsonl.gz"]))


@pytest.mark.parametrize("text", [b"{", b"7", b"\xff", b"[" * 100_000])
def test_other_lines_are_left_out(text: bytes) -> None:
    with pytest.raises(Unusable, match="not a JSON object"):
        row_in(text)


@pytest.mark.parametrize(
    ("time", "created", "expected"),
    [
        (12.5, 3, 12.5),
        ("1970-01-01T00:01:00", 3, 60.0),
        ("1970-01-01T01:01:00+01:00", None, 60.0),
        ("yesterday", 3, 3.0),
        (True, None, None),
        (None, None, None),
    ],
)
def test_the_time_of_a_row(time: Any, created: Any, expected: float | None) -> None:
    assert time_of({"time": time}, created) == expected


def test_paths_into_a_row() -> None:
    row = {"metadata": {"answer": {"gold": 7}}}
    assert at_path(row, "metadata.answer.gold") == 7
    assert at_path(row, "metadata.gold") is None and at_path(row, "metadata.answer.gold.more") is None
