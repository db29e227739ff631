"""Requests to an OpenAI-compatible endpoint: deadlines, retries, and a budget."""

from __future__ import annotations

import json
import logging
import os
import random
import threading
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import httpx2

from r2vpo.errors import UserError

logger = logging.getLogger(__name__)

LONGEST_BACKOFF = 30.0
LONGEST_RETRY_AFTER = 600.0
_RETRIED = {408, 409, 425, 429}
_MENDING = {
    400: "set model, or what the endpoint refuses",
    401: "set api_key_env to an environment variable that holds a valid key",
    403: "set api_key_env to an environment variable whose key may use the model",
    404: "set url to end where /chat/completions follows, such as http://localhost:8000/v1, and model",
}


class _Retry(Exception):
    """A request that may succeed if it is sent again; `wait` is what the endpoint asks for, in seconds."""

    def __init__(self, reason: str, wait: float | None = None) -> None:
        super().__init__(reason)
        self.wait = wait


class ChatClient:
    """Sends chats to one endpoint; may be used from several threads.

    Attributes:
        requests: requests sent so far, repeated ones too.
        tokens: tokens that the endpoint has reported so far, of prompts and replies.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key_env: str | None = None,
        timeout_seconds: float = 60.0,
        attempts: int = 5,
        first_wait_seconds: float = 0.5,
        max_requests: int | None = None,
        max_tokens: int | None = None,
    ) -> None:
        """Read the key and open the client; nothing is sent yet.

        Args:
            url: what comes before `/chat/completions`.
            api_key_env: the environment variable that holds the key; None sends none.
            timeout_seconds: for a whole reply.
            attempts: how often a request is sent before it counts as failed.
            first_wait_seconds: before the second attempt; then twice as long each time, at most 30, less up to half of
                it at random.
            max_requests: limit over the life of the client, repeated requests included; None is no limit.
            max_tokens: limit for what the endpoint reports; requests that are under way may exceed it.

        Raises:
            UserError: the environment variable is not set.
        """
        self._url = f"{url.rstrip('/')}/chat/completions"
        self._key = os.environ.get(api_key_env, "").strip() if api_key_env else ""
        if api_key_env and not self._key:
            raise UserError(
                f"judge: api_key_env names the environment variable {api_key_env}, which is not set: export it"
            )
        headers = {"Authorization": f"Bearer {self._key}"} if self._key else {}
        self._client = httpx2.Client(
            headers=headers, timeout=timeout_seconds, limits=httpx2.Limits(max_connections=None)
        )
        self._timeout, self._attempts, self._first_wait = timeout_seconds, attempts, first_wait_seconds
        self._max_requests, self._max_tokens = max_requests, max_tokens
        self._lock, self._random = threading.Lock(), random.Random()
        self.requests = self.tokens = 0

    def reply(self, messages: Sequence[Mapping[str, str]], stopped: threading.Event, **options: Any) -> str:
        """Send a chat and return the text of the reply.

        Time-outs, connections that break, replies that are no JSON of the documented form, and the statuses 408, 409,
        425, 429 and 5xx are tried again, after the time that the header Retry-After names if there is one.

        Args:
            messages: the chat.
            stopped: once it is set, nothing more is sent and nobody waits.
            **options: more keys of the request's body, such as `model` and `temperature`.

        Returns:
            The text.

        Raises:
            UserError: another status, no success in all attempts, or a spent budget.
        """
        body = {**options, "messages": list(messages)}
        for attempt in range(1, self._attempts + 1):
            if stopped.is_set():
                raise UserError("judge: stopped, since another request failed")
            self._spend()
            try:
                return self._once(body)
            except _Retry as failure:
                logger.warning("judge: attempt %d of %d at %s: %s", attempt, self._attempts, self._url, failure)
                reason, wait = str(failure), failure.wait
            if attempt < self._attempts:
                stopped.wait(self._backoff(attempt) if wait is None else wait)
        raise UserError(
            f"judge: {self._url} failed {self._attempts} times, the last time with {reason}: see that it runs, or "
            "raise attempts or timeout_seconds"
        )

    def _backoff(self, attempt: int) -> float:
        longest = min(LONGEST_BACKOFF, self._first_wait * 2.0 ** (attempt - 1))
        return longest * self._random.uniform(0.5, 1.0)

    def _spend(self) -> None:
        with self._lock:
            if self._max_requests is not None and self.requests >= self._max_requests:
                raise UserError(
                    f"judge: max_requests = {self._max_requests} are spent: raise it, or leave it out, and go on "
                    "from the last checkpoint"
                )
            if self._max_tokens is not None and self.tokens >= self._max_tokens:
                raise UserError(
                    f"judge: max_tokens = {self._max_tokens} are spent ({self.tokens} used): raise it, or leave "
                    "it out, and go on from the last checkpoint"
                )
            self.requests += 1

    def _once(self, body: Mapping[str, Any]) -> str:
        try:
            status, headers, content = self._post(body)
        except (httpx2.TransportError, httpx2.DecodingError) as error:
            raise _Retry(f"{type(error).__name__} ({error})" if str(error) else type(error).__name__) from error
        except (httpx2.InvalidURL, httpx2.HTTPError) as error:
            raise UserError(f"judge: url {self._url!r} cannot be asked ({error}): correct it") from error
        if status in _RETRIED or status >= 500:
            raise _Retry(f"status {status}", _retry_after(headers.get("retry-after")))
        if status != 200:
            said = " ".join(content.decode(errors="replace").split())[:200]
            said = said.replace(self._key, "***") if self._key else said
            mending = _MENDING.get(status, "set url and model to what the endpoint has")
            raise UserError(f"judge: {self._url} answers with status {status} ({said}): {mending}")
        return self._read(content)

    def _post(self, body: Mapping[str, Any]) -> tuple[int, httpx2.Headers, bytes]:
        """One request; the client's own time-outs are for each piece of a reply, this one is for all of it."""
        deadline = time.monotonic() + self._timeout
        with self._client.stream("POST", self._url, json=body) as response:
            content = b""
            for piece in response.iter_bytes():
                content += piece
                if time.monotonic() > deadline:
                    raise httpx2.ReadTimeout(f"no whole reply in {self._timeout:g} s")
            return response.status_code, response.headers, content

    def _read(self, content: bytes) -> str:
        try:
            reply = json.loads(content)
            text = reply["choices"][0]["message"]["content"]
            usage = reply.get("usage") or {}
            total = usage.get("total_tokens")
        except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
            raise _Retry(f"a reply that is no chat completion, beginning with {content[:60]!r}") from error
        if not isinstance(text, str):
            raise _Retry(f"a reply whose content is {text!r}")
        if isinstance(total, int):
            with self._lock:
                self.tokens += total
        elif self._max_tokens is not None:
            raise UserError(
                f"judge: max_tokens is set and {self._url} reports no usage.total_tokens to count: set "
                "max_requests in its place"
            )
        return text


def _retry_after(value: str | None) -> float | None:
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
            f"judge: the endpoint asks to wait {wait:.0f} s: go on from the last checkpoint later, or lower concurrency"
        )
    return max(0.0, wait)
