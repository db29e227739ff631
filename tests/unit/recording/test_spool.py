"""The spool writes whole lines, whatever the disk and the process do."""

from __future__ import annotations

import gzip
import json
import os
import resource
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest

from r2vpo.recording import spool as module
from r2vpo.recording.lines import LOG
from r2vpo.recording.spool import Exchanged, Spool


def exchanged(text: str = "15", encoding: str = "") -> Exchanged:
    return Exchanged(b'{"prompt":\n"7+8="}', json.dumps({"text": text}).encode(), ("", encoding), 12.5)


def lines(spool: Spool) -> list[list[dict[str, object]]]:
    return [[json.loads(line) for line in path.read_text().splitlines()] for path in spool.files()]


def test_files_have_one_first_line_and_go_on_after_the_last(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FILE_BYTES", 200)
    first = Spool(tmp_path)
    for number in range(3):
        first.put(exchanged(f"{number} " + "ü\u2028" * 50))
    assert first.put_feedback("a", {"thumb": 1}).result(30)
    first.close()
    found = lines(first)
    assert len(found) == 4 and all(set(file[0]) == {LOG} for file in found)
    assert found[0][1] == {
        "time": 12.5,
        "request": '{"prompt":\n"7+8="}',
        "response": json.dumps({"text": "0 " + "ü\u2028" * 50}),
    }
    second = Spool(tmp_path)
    second.put(exchanged())
    second.close()
    assert len(lines(second)) == 5 and lines(second)[-1][0] == found[0][0]
    assert (first.exchanges, first.feedback, second.exchanges, first.lost) == (3, 1, 1, {})


def test_nothing_is_made_before_there_is_something_to_write(tmp_path: Path) -> None:
    Spool(tmp_path / "new").close()
    assert list((tmp_path / "new").iterdir()) == []


def test_what_is_packed_or_not_text(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    spool.put(Exchanged(gzip.compress(b'{"b": 1}'), zlib.compress(b'{"a": 1}'), ("gzip", "deflate"), 0.0))
    for body, encoding in ((b"\xff", ""), (b"{}", "br"), (b"{}", "gzip")):
        spool.put(Exchanged(b"{}", body, ("", encoding), 0.0))
        spool.put(Exchanged(body, b"{}", (encoding, ""), 0.0))
    spool.close()
    assert spool.exchanges == 1 and spool.lost == {"a body that is not text in UTF-8": 6}
    assert [lines(spool)[0][1][name] for name in ("request", "response")] == ['{"b": 1}', '{"a": 1}']


def test_a_slow_disk_delays_nobody_and_what_is_lost_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spool, free = Spool(tmp_path), threading.Event()
    write = spool._write
    monkeypatch.setattr(spool, "_write", lambda line: (free.wait(60), write(line)))
    monkeypatch.setattr(module, "WAITING_BYTES", 10_000)
    for _ in range(10):
        spool.put(exchanged("x" * 3000))
    assert spool.lost == {"the disk is too slow": 7}
    assert spool.put_feedback("a", {"comment": "x" * 3000}).result(0) is False
    free.set()
    spool.close()
    assert spool.exchanges == 3 and len(lines(spool)[0]) == 4


def test_a_disk_that_is_full_leaves_whole_lines(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.put_feedback("a", {"thumb": 1}).result(30)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        assert not spool.put_feedback("b", {"thumb": 1, "comment": "x" * 5000}).result(30)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spool.put_feedback("c", {"thumb": 1}).result(30)
    spool.close()
    assert [row["id"] for row in lines(spool)[0][1:]] == ["a", "c"] and spool.lost == {"the disk refuses": 1}


def test_a_disk_that_was_full_from_the_start(tmp_path: Path) -> None:
    """Answers that the disk refuses leave neither files nor descriptors behind."""
    spool, open_files = Spool(tmp_path), len(os.listdir("/proc/self/fd"))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10, hard))
    try:
        for _ in range(5):
            assert not spool.put_feedback("a", {"thumb": 1}).result(30)
        assert len(os.listdir("/proc/self/fd")) == open_files and spool.files() == []
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert spool.put_feedback("b", {"thumb": 1}).result(30)
    spool.close()
    assert [row["id"] for row in lines(spool)[0][1:]] == ["b"]


def test_a_file_without_a_whole_first_line(tmp_path: Path) -> None:
    (tmp_path / "000000.jsonl").write_bytes(b'{"r2vpo_lo')
    spool = Spool(tmp_path)
    assert spool.put_feedback("a", {"thumb": 1}).result(30)
    spool.close()
    assert [path.name for path in spool.files()] == ["000000.jsonl", "000001.jsonl"]


def test_feedback_may_have_any_text(tmp_path: Path) -> None:
    spool = Spool(tmp_path)
    assert spool.put_feedback("\ud83d", {"thumb": 1}).result(30)
    spool.close()
    assert lines(spool)[0][1]["id"] == "\ud83d"


KILLED = """
import os, signal, sys
from pathlib import Path
from r2vpo.recording.spool import Spool
spool = Spool(Path(sys.argv[1]))
assert spool.put_feedback("a", {"thumb": 1}).result(30)
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_written_outlives_the_process(tmp_path: Path) -> None:
    done = subprocess.run([sys.executable, "-c", KILLED, str(tmp_path)], check=False)
    assert done.returncode == -9
    with (tmp_path / "000000.jsonl").open("ab") as file:
        file.write(b'{"half')
    spool = Spool(tmp_path)
    spool.put(exchanged())
    spool.close()
    first, second = [path.read_text().splitlines() for path in spool.files()]
    assert json.loads(first[1])["id"] == "a" and first[0] == second[0] and len(second) == 2
