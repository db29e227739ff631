"""A child process that scores items: a frame of items comes in, and a frame for each finished item goes out.

It imports only the standard library and the module of its function, so that it starts fast.
"""

from __future__ import annotations

import importlib
import json
import os
import struct
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, BinaryIO

LENGTH = struct.Struct("!I")
MESSAGE_BYTES = 1 << 16
"""Maximum size of an outcome; a longer one is not read."""
_DETAIL_CHARACTERS = 500


class NoScore(Exception):
    """Exception for an item that has no score, for a reason that is not an error; `Outcome` describes the arguments."""

    def __init__(self, reason: str, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason


def frame(value: Any) -> bytes:
    """Return a value as JSON, preceded by its length."""
    data = json.dumps(value).encode()
    return LENGTH.pack(len(data)) + data


def read_message(data: bytes) -> dict[str, Any] | None:
    """Return a worker's message: that it is ready, why it failed, or an outcome; None for anything else."""
    try:
        message = json.loads(data)
    except (ValueError, RecursionError):
        return None
    if not isinstance(message, dict) or message.keys() not in ({"ready"}, {"failed"}, {"score", "reason", "detail"}):
        return None
    fits = isinstance(message.get("score", 0.0), float | int) and isinstance(message.get("reason"), str | None)
    return message if fits and isinstance(message.get("detail", ""), str) else None


def main() -> None:
    """Score the items on standard input until it ends; the arguments are those that `ScoringPool` passes."""
    path, seconds, memory_bytes, parent = sys.argv[1], float(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    source, sink = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    # Anything that the function prints must not get between the frames.
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    try:
        module, _, name = path.partition(":")
        function = getattr(importlib.import_module(module), name)
    except Exception as error:  # the module may raise anything; the parent reports it
        _send(sink, {"failed": f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]})
        return
    _limit("RLIMIT_CORE", 0)
    if memory_bytes:  # otherwise the function starts processes, and enforces their limits
        _limit("RLIMIT_AS", memory_bytes)
        _limit("RLIMIT_NPROC", 0)
    _send(sink, {"ready": True})
    while (header := source.read(LENGTH.size)) and len(header) == LENGTH.size:
        for item in json.loads(source.read(LENGTH.unpack(header)[0])):
            # If the parent dies, nothing else would end a computation that never returns.
            _limit("RLIMIT_CPU", int(time.process_time() + seconds) + 1)
            _send(sink, _outcome(function, item))


def _outcome(function: Callable[..., float], item: list[Any]) -> dict[str, Any]:
    score, reason, detail = 0.0, None, ""
    try:
        score = float(function(*item))
    except MemoryError:
        reason = "memory"
    except NoScore as error:
        reason, detail = error.reason, str(error)[:_DETAIL_CHARACTERS]
    except Exception as error:  # the function may raise anything; the caller decides what it means
        reason, detail = "error", f"{type(error).__name__}: {error}"[:_DETAIL_CHARACTERS]
    return {"score": score, "reason": reason, "detail": detail}


def _send(sink: BinaryIO, value: Any) -> None:
    sink.write(frame(value))
    sink.flush()


def _limit(name: str, soft: int) -> None:
    import resource  # not at the top: Windows has none, and imports this module for the format of its messages

    kind = getattr(resource, name)
    hard = resource.getrlimit(kind)[1]
    resource.setrlimit(kind, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)
