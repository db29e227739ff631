"""Files that hold what the proxy has recorded until it is in the store, written by a thread.

What is put here waits in memory until the thread has written it, which no client waits for. Once it is written, a
killed process does not lose it.
"""

from __future__ import annotations

import json
import logging
import os
import queue
import threading
import time
import uuid
import zlib
from collections.abc import Mapping
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from r2vpo.recording.left_out import Unusable
from r2vpo.recording.lines import LOG, lines_of, row_in

WAITING_BYTES = 256 * 2**20
"""As much waits in memory; a disk that is slower for longer loses what comes then, and it is counted."""

FILE_BYTES = 256 * 2**20
"""A file with so much is complete, and the next one is begun."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Exchanged:
    """What passed the proxy.

    Attributes:
        request: The request's body, as it was received.
        response: The response's body, as it was received.
        encodings: Their Content-Encodings.
        time: When it ended, in seconds since 1970.
    """

    request: bytes
    response: bytes
    encodings: tuple[str, str]
    time: float

    def line(self) -> bytes:
        """Return the line of a log that it becomes.

        Raises:
            ValueError: A body is not UTF-8, or is compressed in a way that cannot be unpacked.
        """
        bodies = zip((self.request, self.response), self.encodings, strict=True)
        texts = [_unpacked(body, encoding).decode() for body, encoding in bodies]
        row = {"time": round(self.time, 3), "request": texts[0], "response": texts[1]}
        return json.dumps(row, ensure_ascii=False).encode() + b"\n"


class Spool:
    """A folder of logs in the form of `r2vpo rollouts import`, and the thread that writes them.

    Args:
        folder: Made if it does not exist; earlier files in it stay.

    Attributes:
        exchanges: Number of exchanges that are on the disk.
        feedback: Number of pieces of feedback that are.
        lost: Number of both that were not written, by reason.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder, self._head = folder, _head(folder)
        self._queue: queue.SimpleQueue[tuple[Exchanged | bytes, int, Future[bool] | None] | None] = queue.SimpleQueue()
        self._waiting, self._lock = 0, threading.Lock()
        self._file: int | None = None
        self._size = 0
        self.exchanges = self.feedback = 0
        self.lost: dict[str, int] = {}
        self._thread = threading.Thread(target=self._work, name="spool", daemon=True)
        self._thread.start()

    def put(self, exchanged: Exchanged) -> None:
        """Have an exchange written soon; returns at once."""
        self._put(exchanged, len(exchanged.request) + len(exchanged.response), None)

    def put_feedback(self, response: str, given: Mapping[str, Any], *, index: int | None = None) -> Future[bool]:
        """Have feedback on a response written.

        Args:
            response: The response's id.
            given: What is said of it.
            index: Of the only answer of the response that is meant; None means all of them.

        Returns:
            Whether it was, once that is known.
        """
        done: Future[bool] = Future()
        meant = {} if index is None else {"index": index}
        row = {"id": response, **meant, "feedback": dict(given), "time": round(time.time(), 3)}
        line = json.dumps(row).encode() + b"\n"
        self._put(line, len(line), done)
        return done

    def files(self) -> list[Path]:
        """Return the files, the oldest first."""
        return sorted(self._folder.glob("*.jsonl"))

    def close(self) -> None:
        """Write what waits, and end."""
        self._queue.put(None)
        self._thread.join()

    def lose(self, reason: str) -> None:
        """Count something that is not kept."""
        with self._lock:
            self.lost[reason] = self.lost.get(reason, 0) + 1

    def _put(self, what: Exchanged | bytes, size: int, done: Future[bool] | None) -> None:
        with self._lock:
            full = self._waiting + size > WAITING_BYTES
            self._waiting += 0 if full else size
        if not full:
            self._queue.put((what, size, done))
            return
        self.lose("the disk is too slow")
        if done is not None:
            done.set_result(False)

    def _work(self) -> None:
        while (item := self._queue.get()) is not None:
            what, size, done = item
            kept = False
            try:
                self._write(what if isinstance(what, bytes) else what.line())
                kept = True
                if isinstance(what, bytes):
                    self.feedback += 1
                else:
                    self.exchanges += 1
            except (ValueError, zlib.error):
                self.lose("a body that is not text in UTF-8")
            except OSError as error:
                if not self.lost.get("the disk refuses"):
                    logger.warning(f"{self._folder}: {error.strerror}: answers pass and are not recorded")
                self.lose("the disk refuses")
            finally:
                with self._lock:
                    self._waiting -= size
                if done is not None:
                    done.set_result(kept)
        if self._file is not None:
            os.fsync(self._file)
            os.close(self._file)

    def _write(self, line: bytes) -> None:
        if self._file is None or self._size >= FILE_BYTES:
            self._begin()
        assert self._file is not None
        try:
            _write_all(self._file, line)
            self._size += len(line)
        except OSError:
            os.ftruncate(self._file, self._size)  # no half a line
            raise

    def _begin(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None
        number = int(found[-1].stem) + 1 if (found := self.files()) else 0
        while True:
            path = self._folder / f"{number:06d}.jsonl"
            try:
                # Another proxy may write into the same folder.
                file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND)
                break
            except FileExistsError:
                number += 1
        try:
            _write_all(file, self._head)
        except OSError:  # no file without its first line, and none for each answer that the disk refuses
            os.close(file)
            path.unlink()
            raise
        self._file, self._size = file, len(self._head)


def _head(folder: Path) -> bytes:
    """Return the first line of all files of a folder, by which the store knows the log."""
    for path in sorted(folder.glob("*.jsonl")):
        for _, line in lines_of([path]):
            with suppress(Unusable):
                if LOG in row_in(line):
                    return line
            break
    return json.dumps({LOG: uuid.uuid4().hex}).encode() + b"\n"


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _unpacked(body: bytes, encoding: str) -> bytes:
    if encoding in ("", "identity"):
        return body
    if encoding in ("gzip", "deflate"):
        return zlib.decompress(body, wbits=47)
    raise ValueError(f"unknown Content-Encoding {encoding}")
