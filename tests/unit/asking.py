"""One request with the bounds that the tests of exchanges use."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

from r2vpo.exchange import exchange
from r2vpo.http_terms import Reply, Retry

SECONDS = 0.4


def ask(url: str, **changes: Any) -> Reply | None:
    options: dict[str, Any] = {
        "headers": {},
        "body": b"{}",
        "seconds": 5.0,
        "largest": 1000,
        "stopped": threading.Event(),
    }
    return exchange("POST", url, **options | changes)


def ends_in_time(url: str, **changes: Any) -> str:
    begun = time.monotonic()
    with pytest.raises(Retry) as caught:
        ask(url, seconds=SECONDS, **changes)
    assert time.monotonic() - begun < SECONDS + 2.0  # on a busy machine
    return str(caught.value)
