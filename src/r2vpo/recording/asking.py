"""What a request lacks for token ids and log-probs to come back."""

from __future__ import annotations

import json
from typing import Any

_ADDED: dict[str, dict[str, Any]] = {
    "/chat/completions": {"logprobs": True, "return_token_ids": True},
    "/completions": {"logprobs": 1, "return_token_ids": True},
}


def recorded(path: str) -> bool:
    """Return whether what passes at this path is an exchange that can be imported."""
    return path.endswith(("/completions", "/generate"))


def asking(path: str, body: bytes) -> bytes:
    """Return the body with what is missing; as it is if it is not a JSON object.

    Args:
        path: The request's path.
        body: Its body.
    """
    try:
        request = json.loads(body)
    except (ValueError, RecursionError):
        return body
    if not isinstance(request, dict):
        return body
    if path.endswith("/generate"):
        parameters = request.get("parameters")
        added: dict[str, Any] = {
            "parameters": {**(parameters if isinstance(parameters, dict) else {}), "return_details": True}
        }
    else:
        added = next(more for end, more in _ADDED.items() if path.endswith(end))
    missing = {name: value for name, value in added.items() if not request.get(name) or name == "parameters"}
    return json.dumps(request | missing).encode() if missing else body
