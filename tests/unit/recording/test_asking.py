"""Requests are made to ask for what they lack, and are left alone otherwise."""

from __future__ import annotations

import json
from typing import Any

import pytest

from r2vpo.recording.asking import asking, recorded

IDS = {"return_token_ids": True}


@pytest.mark.parametrize(
    ("path", "request_", "asked"),
    [
        ("/v1/chat/completions", {"messages": []}, IDS | {"logprobs": True}),
        ("/v1/chat/completions", {"logprobs": False}, IDS | {"logprobs": True}),
        ("/v1/completions", {"prompt": "ü"}, IDS | {"logprobs": 1}),
        ("/v1/completions", {"logprobs": 5, "return_token_ids": None}, IDS | {"logprobs": 5}),
        ("/generate", {"inputs": [1]}, {"parameters": {"return_details": True}}),
        ("/generate", {"parameters": {"n": 2}}, {"parameters": {"n": 2, "return_details": True}}),
    ],
)
def test_what_is_missing_is_added(path: str, request_: dict[str, Any], asked: dict[str, Any]) -> None:
    assert json.loads(asking(path, json.dumps(request_).encode())) == request_ | asked


def test_half_a_character_is_passed_on() -> None:
    """Clients that cut texts send them."""
    assert json.loads(asking("/v1/completions", b'{"prompt": "\\ud83d"}'))["prompt"] == "\ud83d"


@pytest.mark.parametrize("body", [b"", b"{", b"[1]", b'{"logprobs" :  1, "return_token_ids": true}'])
def test_other_bodies_stay_as_they_are(body: bytes) -> None:
    assert asking("/v1/completions", body) == body


def test_only_exchanges_are_recorded() -> None:
    assert all(recorded(path) for path in ("/v1/completions", "/v1/chat/completions", "/generate"))
    assert not any(recorded(path) for path in ("/v1/embeddings", "/v1/models", "/health", "/v1/completions/render"))
