"""Retry HTTP requests where that may help, with messages that do not leak secrets.

The retry loop is this package's own: another thread cannot end the waits of stamina, and tenacity needs as many lines
for Retry-After, the budget check before each attempt, and the last reason in the message.
"""

from __future__ import annotations

import json
import logging
import random
import re
import threading
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar
from urllib.parse import unquote
from urllib.request import getproxies

from r2vpo.errors import UserError
from r2vpo.http_terms import Retry, url_problem

__all__ = ["Failed", "Retry", "RetryingClient", "Stopped", "read_json", "side_by_side"]

logger = logging.getLogger(__name__)

LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 600.0
LARGEST_REPLY = 4 * 2**20
_RETRIED = {408, 409, 425, 429}
_OF_ONE_REQUEST = {400, 413, 422}
# Replies with these statuses are about the key or the proxy's password, and add nothing to the status.
_ABOUT_SECRETS = {401, 403, 407}
_SHOWN = 200
# This many consecutive characters of a secret count as a part of it, and so do this many of its letters and digits; of
# a shorter secret, all of them, unless they are so few that they occur in any text.
_PIECE, _FEWEST = 8, 4
_ESCAPED = re.compile(r"(?:%|\\x|\\u00)([0-9a-f]{2})", re.IGNORECASE)
T = TypeVar("T")
J = TypeVar("J")


class Failed(UserError):
    """One request failed, after all attempts or because it was refused; other requests may succeed."""


class Stopped(UserError):
    """A request that was abandoned because another one failed."""


class RetryingClient:
    """Client that sends requests to one server; it may be used from several threads.

    Args:
        name: text at the beginning of every message.
        headers: sent with every request.
        secret: text that is kept out of messages, like the password of the environment's proxies.
        timeout_seconds: time limit of a whole exchange, from the lookup of the server's name to the last byte.
        attempts: how often a request is sent before it counts as failed.
        first_wait_seconds: wait before the second attempt; it doubles each time, up to 30, minus a random part of up
            to half of it.
        remedies: what to do about a status, by status; ``None`` is for all others.
        largest_reply: most bytes of a reply's body, unpacked.
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
        largest_reply: int = LARGEST_REPLY,
    ) -> None:
        self._name, self._secret, self._remedies = name, secret, remedies
        self._headers, self._largest = dict(headers or {}), largest_reply
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

        Time-outs, connections that break, replies that are too large or that `read` refuses with `Retry`, and the
        statuses 408, 409, 425, 429 and 5xx are tried again, after the time that the header Retry-After names if there
        is one.

        Args:
            method: ``GET`` or ``POST``.
            url: the URL.
            read: makes the result from the reply's body.
            body: sent as JSON; characters that UTF-8 cannot encode become question marks.
            stopped: once it is set, nothing more is sent and all waits end.
            before: called before every attempt.

        Raises:
            Failed: no attempt succeeded, or the status concerns only this request (400, 413, 422).
            Stopped: `stopped` was set.
            UserError: another status, or a URL that cannot be requested.
        """
        # Scoring workers import this module but never send; importing aiohttp would make their start 50 % slower.
        from r2vpo.exchange import exchange

        self._check(url)
        sent, headers = None, self._headers
        if body is not None:
            sent = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode(errors="replace")
            headers = {"Content-Type": "application/json", **headers}
        reason, wait_seconds = "", None
        for attempt in range(1, self._attempts + 1):
            if stopped.is_set():
                raise self._stopped()
            before()
            try:
                reply = exchange(
                    method,
                    url,
                    headers=headers,
                    body=sent,
                    seconds=self._timeout,
                    largest=self._largest,
                    stopped=stopped,
                )
                if reply is None:
                    raise self._stopped()
                self._judge_status(url, reply.status, reply.retry_after, reply.content)
                return read(reply.content)
            except Retry as failure:
                reason, wait_seconds = self.printable(str(failure)), failure.wait
                logger.warning("%s: attempt %d of %d at %s: %s", self._name, attempt, self._attempts, url, reason)
            if attempt < self._attempts:
                stopped.wait(self._backoff(attempt) if wait_seconds is None else wait_seconds)
        raise Failed(
            f"{self._name}: {url} failed {self._attempts} times, the last time with {reason}: check that it runs, or "
            "raise attempts or timeout_seconds"
        )

    def printable(self, text: str) -> str:
        """Return a server's text in printable form: one short line without secrets and control characters.

        Secrets are the client's own and the password of the environment's proxies. A text that contains one is shown
        with asterisks in its place. A text that contains a part of one is not shown at all, even if the part is
        written in capitals, with escapes, or with other characters in between.
        """
        line = " ".join(text.split())
        secrets = [secret for secret in (self._secret, *_proxy_secrets()) if secret]
        for secret in sorted(secrets, key=len, reverse=True):
            line = line.replace(secret, "***")
        unescaped = _ESCAPED.sub(lambda found: chr(int(found[1], 16)), line)
        said = {line.casefold(), _letters(line), _letters(unescaped)}
        hidden = {form for secret in secrets for form in (secret.casefold(), _letters(secret))}
        pieces = {piece for form in hidden for piece in _pieces(form)}
        if any(piece in text for text in said for piece in pieces):
            return "a text that is left out because it repeats a part of the key"
        return "".join(letter if letter.isprintable() else "?" for letter in line[:_SHOWN])

    def _check(self, url: str) -> None:
        problem = url_problem(url)
        if problem is not None:
            shown = "" if set("@?#") & set(url) else f" {url!r}"
            raise UserError(f"{self._name}: url{shown} cannot be requested ({problem}): correct it")

    def _stopped(self) -> Stopped:
        return Stopped(f"{self._name}: stopped because another request failed")

    def _backoff(self, attempt: int) -> float:
        longest = min(LONGEST_BACKOFF, self._first_wait * 2.0 ** (attempt - 1))
        return longest * self._random.uniform(0.5, 1.0)

    def _judge_status(self, url: str, status: int, retry_after: str | None, content: bytes) -> None:
        if status == 200:
            return
        # 101 and 204 have no body that could be read, and say nothing about the next attempt.
        if status in _RETRIED or status >= 500 or status < 300:
            raise Retry(f"status {status}", self._retry_after(retry_after))
        remedy = self._remedies.get(status, self._remedies[None])
        said = "" if status in _ABOUT_SECRETS else f" ({self.printable(content.decode(errors='replace'))})"
        kind = Failed if status in _OF_ONE_REQUEST else UserError
        raise kind(f"{self._name}: {url} answers with status {status}{said}: {remedy}")

    def _retry_after(self, value: str | None) -> float | None:
        """Return the seconds to wait from a header with seconds or a date; None if it has neither."""
        try:
            wait_seconds = float(value or "")
        except ValueError:
            try:
                wait_seconds = (parsedate_to_datetime(value or "") - datetime.now(UTC)).total_seconds()
            except (ValueError, TypeError, OverflowError):
                return None
        if wait_seconds > LONGEST_RETRY_AFTER:
            shown = min(wait_seconds, 1e9)
            raise UserError(
                f"{self._name}: the endpoint asks to wait {shown:.0f} s: resume from the last checkpoint later, or "
                "lower concurrency"
            )
        return wait_seconds if wait_seconds >= 0 else None


def _proxy_secrets() -> list[str]:
    """Return the passwords in the addresses of the environment's proxies, as written there and as sent."""
    found = []
    for address in getproxies().values():
        login = address.rpartition("@")[0].rpartition("//")[2]
        user, _, password = login.partition(":")
        plain = unquote(password)
        found += [password or user, plain, b64encode(f"{unquote(user)}:{plain}".encode()).decode() if login else ""]
    return found


def _letters(text: str) -> str:
    """Return a text without the characters that can be written in several ways or inserted in between."""
    return "".join(letter for letter in text.casefold() if letter.isalnum())


def _pieces(text: str) -> list[str]:
    size = min(_PIECE, len(text))
    return [text[at : at + size] for at in range(len(text) - size + 1)] if size >= _FEWEST else []


def read_json(content: bytes) -> Any:
    """Parse a reply.

    Raises:
        Retry: it is not JSON, or JSON that Python cannot read: nested thousands deep, numbers with thousands of digits.
    """
    try:
        return json.loads(content)
    except (ValueError, RecursionError) as error:
        reason = "nested too deeply" if isinstance(error, RecursionError) else str(error)
    raise Retry(f"a reply that is not JSON ({reason}), beginning with {content[:60]!r}")


def side_by_side(call: Callable[[J, threading.Event], T], jobs: Sequence[J], *, concurrency: int) -> list[T]:
    """Call a function for each job, several at a time.

    Args:
        call: takes a job and an event that is set once the result is no longer needed; `RetryingClient.send` obeys it.
        jobs: the arguments of the calls.
        concurrency: number of simultaneous calls.

    Returns:
        The results, in the order of the jobs.

    Raises:
        Exception: the first one that a call raised; running calls are then stopped, as on Ctrl-C.
    """
    stopped = threading.Event()

    def called(job: J) -> T:
        if stopped.is_set():
            raise Stopped("stopped because another call failed")
        try:
            return call(job, stopped)
        except BaseException:
            stopped.set()
            raise

    with ThreadPoolExecutor(concurrency) as threads:
        try:
            # Ctrl-C may arrive while threads are still being started, too.
            running = [threads.submit(called, job) for job in jobs]
            wait(running, return_when=FIRST_EXCEPTION)
        finally:
            stopped.set()
            threads.shutdown(wait=False, cancel_futures=True)
    failures = [error for one in running if not one.cancelled() and (error := one.exception()) is not None]
    # The first one that failed by itself, not one that was stopped because of it.
    for failure in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        raise failure
    return [one.result() for one in running]
