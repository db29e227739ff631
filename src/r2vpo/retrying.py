"""HTTP requests with a deadline for the whole reply, tried again where that may help."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import httpx2

from r2vpo.errors import UserError

logger = logging.getLogger(__name__)

LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 600.0
_RETRIED = {408, 409, 425, 429}
T = TypeVar("T")


class Retry(Exception):
    """A request that may succeed if it is sent again; `wait` is what the other side asks for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class RetryingClient:
    """Sends requests to one server; may be used from several threads.

    Args:
        name: begins every message.
        headers: sent with every request.
        secret: text that is kept out of messages.
        timeout_seconds: for a whole reply.
        attempts: how often a request is sent before it counts as failed.
        first_wait_seconds: before the second attempt; then twice as long each time, at most 30, less up to half of it
            at random.
        remedies: what to do about a status, by status; ``None`` is for all others.
    """

    def __init__(
        self,
        name: str,
        *,
        headers: Mapping[str, str] | None = None,
        secret: str = "",
        timeout_seconds: float,
        attempts: int,
        first_wait_seconds: float,
        remedies: Mapping[int | None, str],
    ) -> None:
        self._name, self._secret, self._remedies = name, secret, remedies
        self._client = httpx2.Client(
            headers=headers, timeout=timeout_seconds, limits=httpx2.Limits(max_connections=None)
        )
        self._timeout, self._attempts, self._first_wait = timeout_seconds, attempts, first_wait_seconds
        self._random = random.Random()

    def send(
        self,
        method: str,
        url: str,
        read: Callable[[bytes], T],
        *,
        body: Mapping[str, Any] | None = None,
        stopped: threading.Event,
        before: Callable[[], None] = lambda: None,
    ) -> T:
        """Send a request and read the reply.

        Time-outs, connections that break, replies that `read` refuses with `Retry`, and the statuses 408, 409, 425, 429
        and 5xx are tried again, after the time that the header Retry-After names if there is one.

        Args:
            method: ``GET`` or ``POST``.
            url: where to.
            read: makes the result of the reply's body.
            body: sent as JSON.
            stopped: once it is set, nothing more is sent and nobody waits.
            before: called before every attempt.

        Raises:
            UserError: another status, or no success in all attempts.
        """
        for attempt in range(1, self._attempts + 1):
            if stopped.is_set():
                raise UserError(f"{self._name}: stopped, since another request failed")
            before()
            try:
                return self._once(method, url, read, body)
            except Retry as failure:
                logger.warning("%s: attempt %d of %d at %s: %s", self._name, attempt, self._attempts, url, failure)
                reason, wait = str(failure), failure.wait
            if attempt < self._attempts:
                stopped.wait(self._backoff(attempt) if wait is None else wait)
        raise UserError(
            f"{self._name}: {url} failed {self._attempts} times, the last time with {reason}: see that it runs, or "
            "raise attempts or timeout_seconds"
        )

    def _backoff(self, attempt: int) -> float:
        longest = min(LONGEST_BACKOFF, self._first_wait * 2.0 ** (attempt - 1))
        return longest * self._random.uniform(0.5, 1.0)

    def _once(self, method: str, url: str, read: Callable[[bytes], T], body: Mapping[str, Any] | None) -> T:
        try:
            status, headers, content = self._exchange(method, url, body)
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise UserError(f"{self._name}: url {url!r} cannot be asked ({error}): correct it") from error
        except httpx2.HTTPError as error:
            raise Retry(f"{type(error).__name__} ({error})" if str(error) else type(error).__name__) from error
        if status in _RETRIED or status >= 500:
            raise Retry(f"status {status}", self._retry_after(headers.get("retry-after")))
        if status != 200:
            said = " ".join(content.decode(errors="replace").split())[:200]
            said = said.replace(self._secret, "***") if self._secret else said
            remedy = self._remedies.get(status, self._remedies[None])
            raise UserError(f"{self._name}: {url} answers with status {status} ({said}): {remedy}")
        return read(content)

    def _exchange(self, method: str, url: str, body: Mapping[str, Any] | None) -> tuple[int, httpx2.Headers, bytes]:
        """One request; the client's own time-outs are for each piece of a reply, this one is for all of it."""
        deadline = time.monotonic() + self._timeout
        with self._client.stream(method, url, json=body) as response:
            content = b""
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout(f"no whole reply in {self._timeout:g} s")
            return response.status_code, response.headers, content

    def _retry_after(self, value: str | None) -> float | None:
        """Seconds to wait, from a header that holds seconds or a date."""
        if value is None:
            return None
        try:
            wait = float(value)
        except ValueError:
            try:
                wait = (parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError):
                return None
        if wait > LONGEST_RETRY_AFTER:
            raise UserError(
                f"{self._name}: the endpoint asks to wait {wait:.0f} s: go on from the last checkpoint later, or lower "
                "concurrency"
            )
        return max(0.0, wait)
