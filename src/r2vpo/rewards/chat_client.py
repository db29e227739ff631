"""Requests to an OpenAI-compatible endpoint, within a budget.

The openai package is not used: its time-outs hold for a single read, and it bounds neither a reply's size nor a budget.
"""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from r2vpo.errors import UserError
from r2vpo.retrying import Retry, RetryingClient, read_json
from r2vpo.rewards.judge_options import JudgeOptions

_REMEDIES = {
    400: "set model, or change what the endpoint rejects",
    401: "set api_key_env to an environment variable that holds a valid key",
    403: "set api_key_env to an environment variable whose key may use the model",
    404: "set url to what precedes /chat/completions, such as http://localhost:8000/v1, and set model",
    None: "set url and model to what the endpoint has",
}
# More than any reply has; a larger reported number is not counted.
_MOST_TOKENS = 10**9


class ChatClient:
    """Client that sends chats to one endpoint; it may be used from several threads.

    Attributes:
        requests: requests sent so far, including repeated ones.
        tokens: tokens of prompts and replies that the endpoint has reported so far.
    """

    def __init__(self, options: JudgeOptions, *, first_wait_seconds: float = 0.5) -> None:
        """Read the key and open the client; nothing is sent yet. `RetryingClient` describes `first_wait_seconds`.

        Raises:
            UserError: the environment variable of the key is not set, or its value is not a valid key.
        """
        self._url = f"{options.url.rstrip('/')}/chat/completions"
        key = _key(options.api_key_env) if options.api_key_env else ""
        self._client = RetryingClient(
            "judge",
            headers={"Authorization": f"Bearer {key}"} if key else {},
            secret=key,
            timeout_seconds=options.timeout_seconds,
            attempts=options.attempts,
            first_wait_seconds=first_wait_seconds,
            remedies=_REMEDIES,
        )
        self._max_requests, self._max_tokens = options.max_requests, options.max_tokens
        self._lock = threading.Lock()
        self.requests = self.tokens = 0

    def reply(self, messages: Sequence[Mapping[str, str]], stopped: threading.Event, **options: Any) -> str:
        """Send a chat and return the text of the reply.

        Temporary failures are retried, see `RetryingClient.send`, and so are replies that are not JSON of the
        documented form.

        Args:
            messages: the chat.
            stopped: once it is set, nothing more is sent and no call waits any longer.
            **options: more keys for the request's body, such as `model` and `temperature`.

        Raises:
            Failed: no attempt succeeded, or the endpoint refused only this request.
            UserError: the endpoint returned another status, or the budget is spent.
        """
        body = {**options, "messages": list(messages)}
        return self._client.send("POST", self._url, self._read, body=body, stopped=stopped, before=self._spend)

    def _spend(self) -> None:
        with self._lock:
            if self._max_requests is not None and self.requests >= self._max_requests:
                raise UserError(
                    f"judge: max_requests = {self._max_requests} is spent: raise it, or leave it out, and "
                    "resume from the last checkpoint"
                )
            if self._max_tokens is not None and self.tokens >= self._max_tokens:
                raise UserError(
                    f"judge: max_tokens = {self._max_tokens} is spent ({self.tokens} used): raise it, or leave "
                    "it out, and resume from the last checkpoint"
                )
            self.requests += 1

    def printable(self, text: str) -> str:
        """Return what the endpoint said in a form that is safe to print, see `RetryingClient.printable`."""
        return self._client.printable(text)

    def _read(self, content: bytes) -> str:
        reply = read_json(content)
        try:
            text = reply["choices"][0]["message"]["content"]
            usage = reply.get("usage")
        except (KeyError, IndexError, TypeError, AttributeError):
            text = usage = None
        if not isinstance(text, str):
            raise Retry(f"a reply that is not a chat completion, beginning with {content[:60]!r}")
        total = usage.get("total_tokens") if isinstance(usage, dict) else usage
        if type(total) is int and 0 <= total <= _MOST_TOKENS:
            with self._lock:
                self.tokens += total
        elif self._max_tokens is not None:
            if total is not None:
                raise Retry("a reply whose usage.total_tokens is not a number of tokens")
            raise UserError(
                f"judge: max_tokens is set and {self._url} reports no usage.total_tokens to count: set "
                "max_requests in its place"
            )
        return text


def _key(variable: str) -> str:
    """Return the key in an environment variable; no message repeats it."""
    key = os.environ.get(variable, "").strip()
    if not key:
        # A lower-case name may be the key itself, entered where the variable's name belongs.
        named = f" {variable}, which" if variable.isupper() else " that"
        raise UserError(f"judge: api_key_env names the environment variable{named} is not set: export it")
    if not re.fullmatch(r"[!-~]+", key):
        raise UserError(
            f"judge: the key in the environment variable {variable} contains a line break, a space or a character "
            "that no key has: export it again"
        )
    return key
