"""Streams of server-sent events, put together into the response that the server would have sent at once."""

from __future__ import annotations

import json
from typing import Any

_LISTS = ("tokens", "token_logprobs", "content")


def joined(stream: str) -> dict[str, Any]:
    """Return a stream of `/v1/completions` or `/v1/chat/completions` as one response.

    A stream that ends early gives choices without a `finish_reason`, as its last event would have it.

    Args:
        stream: What was received.
    """
    response: dict[str, Any] = {}
    choices: dict[int, dict[str, Any]] = {}
    for line in stream.split("\n"):  # not splitlines: JSON may contain its other ends of lines
        data = line.removeprefix("data:").strip() if line.startswith("data:") else ""
        if not data or data == "[DONE]":
            continue
        try:
            event = json.loads(data)
        except ValueError:
            break  # it ends in the middle of an event
        if not isinstance(event, dict):
            continue
        if event.get("error"):
            return {"error": event["error"]}
        for name in ("id", "model", "created", "prompt_token_ids"):
            if event.get(name) is not None:
                response.setdefault(name, event[name])
        for part in event.get("choices") or []:
            _add(choices.setdefault(part.get("index", 0), {"index": part.get("index", 0)}), part)
    return response | {"choices": [choices[index] for index in sorted(choices)]} if choices else response


def _add(choice: dict[str, Any], part: dict[str, Any]) -> None:
    """Add an event's part of a choice to what came before."""
    if "delta" in part:
        content = (part["delta"] or {}).get("content")
        message = choice.setdefault("message", {"content": None})
        if content is not None:
            message["content"] = (message["content"] or "") + content
    elif part.get("text") is not None:
        choice["text"] = choice.get("text", "") + part["text"]
    if part.get("token_ids") is not None:
        choice.setdefault("token_ids", []).extend(part["token_ids"])
    if part.get("prompt_token_ids") is not None:
        choice.setdefault("prompt_token_ids", part["prompt_token_ids"])
    if part.get("finish_reason") is not None:
        choice["finish_reason"] = part["finish_reason"]
    for name in _LISTS:
        values = (part.get("logprobs") or {}).get(name)
        if values:
            choice.setdefault("logprobs", {}).setdefault(name, []).extend(values)
