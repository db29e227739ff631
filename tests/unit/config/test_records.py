"""Records, summaries and configurations are told from damaged ones."""

from __future__ import annotations

import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from r2vpo.config.records import (
    append_record,
    check_digest,
    keep_records,
    read_object,
    read_records,
    write_object,
    write_with_digest,
)
from r2vpo.errors import UserError

RECORDS: list[dict[str, Any]] = [
    {"step": 1, "loss": 0.1, "text": "ä\ud83d\n"},
    {},
    {"step": 2, "loss": None, "list": [1e-300, 2**70]},
]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    for record in RECORDS:
        append_record(tmp_path / "metrics.jsonl", record)
    return tmp_path / "metrics.jsonl"


def test_records_come_back_without_their_checksums(file: Path) -> None:
    assert read_records(file) == RECORDS
    assert [list(json.loads(line))[-1] for line in file.read_bytes().splitlines()] == ["crc32"] * 3
    keep_records(file, lambda record: record.get("step") != 1)
    assert read_records(file) == RECORDS[1:]


def test_every_flipped_bit_of_a_record_is_found(file: Path) -> None:
    whole = file.read_bytes()
    for place in range(len(whole) - 1):  # without the last newline the last line is a cut-off one
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 1 << place % 8]) + whole[place + 1 :])
        with pytest.raises(UserError, match=r"metrics.jsonl: line \d is (damaged|not a JSON object)"):
            read_records(file)


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999", "1" + "0" * 400, "1" * 5000])
def test_a_number_that_is_not_finite_is_refused(file: Path, number: str) -> None:
    line = f'{{"step": 4, "loss": [{number}]'.encode()
    file.write_bytes(line + b', "crc32": "%08x"}\n' % zlib.crc32(line + b"}"))
    with pytest.raises(UserError, match=r"line 1 has the number .{1,30}, which is not finite: restore the file"):
        read_records(file)
    file.write_bytes(line + b"}\n")
    with pytest.raises(ValueError, match=r"it has the number .{1,30}, which is not finite"):
        read_object(file)


def test_a_number_that_would_not_be_read_is_written_as_null(tmp_path: Path) -> None:
    record = {"a": float("nan"), "b": [float("inf"), 10**400, True], "c": 1e308}
    append_record(tmp_path / "a.jsonl", record)
    write_object(tmp_path / "a.json", record)
    assert read_records(tmp_path / "a.jsonl") == [read_object(tmp_path / "a.json")]
    assert read_object(tmp_path / "a.json") == {"a": None, "b": [None, None, True], "c": 1e308}


def test_a_last_line_without_its_newline_is_cut_off_for_reader_and_writer(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])
    assert read_records(file) == RECORDS[:-1]
    append_record(file, {"step": 9})
    assert read_records(file) == [*RECORDS[:-1], {"step": 9}]


def test_a_link_to_nothing_is_not_an_empty_file(tmp_path: Path) -> None:
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "gone.jsonl")
    with pytest.raises(UserError, match=r"link.jsonl: this is not a regular file"):
        read_records(tmp_path / "link.jsonl")


def test_a_record_without_a_checksum_is_damaged(tmp_path: Path) -> None:
    file = tmp_path / "stripped.jsonl"
    file.write_text('{"step": 1}\n{"step": 2}\n')
    with pytest.raises(
        UserError, match=r"stripped.jsonl: no record has a checksum, as before r2vpo 0.1.0: restore the"
    ):
        read_records(file)
    append_record(file, {"step": 3})
    with pytest.raises(UserError, match=r"stripped.jsonl: line 1 is damaged, its checksum differs or is missing: rest"):
        read_records(file)


def test_an_object_and_its_checksum(tmp_path: Path) -> None:
    file = tmp_path / "summary.json"
    write_object(file, {"a": 1.5, "b": {"c": [None, "ä"]}})
    assert read_object(file) == {"a": 1.5, "b": {"c": [None, "ä"]}}
    file.write_text(file.read_text().replace("1.5", "1.4"))
    with pytest.raises(ValueError, match="its checksum differs"):
        read_object(file)
    file.write_text('{"a": 1}')
    with pytest.raises(ValueError, match="or is missing"):
        read_object(file)


def test_a_text_and_its_digest(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    write_with_digest(file, "name: ä\nseed: 1\n")
    check_digest(file)
    written = file.read_text()
    for damaged in (written.replace("seed: 1", "seed: 3"), written[:-3]):
        file.write_text(damaged)
        with pytest.raises(UserError, match=r"config\.yaml: it has changed since it was written"):
            check_digest(file)
    file.write_text("name: ä\nseed: 3\n")
    check_digest(file)
