"""Definitions shared by the clients of HTTP servers, without importing the HTTP library."""

from __future__ import annotations

import re
from typing import NamedTuple
from urllib.parse import urlsplit

BEGINNING = 2000
"""Bytes read of an unsuccessful reply."""


class Retry(Exception):
    """A request that may succeed if it is sent again; `wait` is the delay that the server asks for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class Reply(NamedTuple):
    """A reply; if its status is not 200, only the beginning of the body, at most `BEGINNING` bytes."""

    status: int
    retry_after: str | None
    content: bytes


def url_problem(url: str) -> str | None:
    """Return why a URL cannot be requested, without repeating any secret part of it; None if it can be.

    User names, passwords and queries are refused: a URL is printed in messages and kept with a run's settings.
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return "its host or port is not valid"
    if "@" in parts.netloc or parts.query or parts.fragment or url.endswith(("?", "#")):
        return "it holds a user name, a password, a query or a fragment, and a URL is printed and kept"
    if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\\]", url):
        return "it is not http:// or https:// with a host"
    return None
