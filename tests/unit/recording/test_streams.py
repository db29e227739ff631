"""Server-sent events become the response that the server would have sent at once."""

from __future__ import annotations

import json
from typing import Any

import pytest

from r2vpo.recording.streams import joined
from tests.unit.recording.logs import CHAT_STREAM, STREAM

STREAMS = [pytest.param(STREAM["response"], id="completions"), pytest.param(CHAT_STREAM["response"], id="chat")]


def events(stream: str) -> list[dict[str, Any]]:
    return [json.loads(text) for part in stream.split("\n\n") if (text := part.removeprefix("data: ")).startswith("{")]


def as_stream(*found: Any, end: str = "\n") -> str:
    return "".join(f"data: {json.dumps(one)}{end}{end}" for one in found) + f"data: [DONE]{end}{end}"


def parts_of(stream: str, index: int) -> list[dict[str, Any]]:
    return [part for event in events(stream) for part in event["choices"] if part["index"] == index]


@pytest.mark.parametrize("stream", STREAMS)
def test_what_a_server_sent(stream: str) -> None:
    response = joined(stream)
    first = events(stream)[0]
    assert {name: response[name] for name in ("id", "model", "created")} == {
        name: first[name] for name in ("id", "model", "created")
    }
    indices = {part["index"] for event in events(stream) for part in event["choices"]}
    assert [choice["index"] for choice in response["choices"]] == sorted(indices)
    for choice in response["choices"]:
        parts = parts_of(stream, choice["index"])
        assert choice["token_ids"] == [token for part in parts for token in part.get("token_ids") or []]
        said = [part["delta"].get("content") if "delta" in part else part["text"] for part in parts]
        text = choice["message"]["content"] if "message" in choice else choice["text"]
        assert text == "".join(one or "" for one in said) and text
        assert choice["finish_reason"] == [part["finish_reason"] for part in parts if part["finish_reason"]][-1]
        assert choice.get("prompt_token_ids", response.get("prompt_token_ids")) == [9, 12, 10, 14]
        numbers = choice["logprobs"].get("token_logprobs") or choice["logprobs"]["content"]
        assert len(numbers) == len(choice["token_ids"])


@pytest.mark.parametrize("stream", STREAMS)
def test_other_ends_of_lines_and_comments_make_no_difference(stream: str) -> None:
    whole = joined(stream)
    assert joined(stream.replace("\n", "\r\n")) == whole
    assert joined(": ping\n\nevent: message\n" + stream.replace("data: ", "data:")) == whole
    assert joined(stream.replace("data: [DONE]", "")) == whole


@pytest.mark.parametrize("stream", STREAMS)
def test_a_stream_that_breaks_off_gives_what_came(stream: str) -> None:
    """Wherever it does: tokens are the first of all tokens, and only a whole answer has an end."""
    whole = {choice["index"]: choice for choice in joined(stream)["choices"]}
    lengths = set()
    for end in range(len(stream)):
        for choice in joined(stream[:end]).get("choices", []):
            ids, expected = choice.get("token_ids", []), whole[choice["index"]]
            assert ids == expected["token_ids"][: len(ids)]
            assert "finish_reason" not in choice or choice == expected
            lengths.add(len(ids))
    assert lengths >= set(range(1, len(whole[0]["token_ids"]) + 1))


def test_choices_may_come_in_any_order() -> None:
    one, two = ({"index": place, "text": str(place), "token_ids": [place]} for place in (0, 1))
    assert joined(as_stream({"choices": [two]}, {"choices": [one]}, {"choices": [two, one]}))["choices"] == [
        {"index": 0, "text": "00", "token_ids": [0, 0]},
        {"index": 1, "text": "11", "token_ids": [1, 1]},
    ]


def test_an_error_is_the_response() -> None:
    error = {"message": "out of memory", "code": 500}
    assert joined(as_stream({"choices": [{"index": 0, "text": "1"}]}, {"error": error})) == {"error": error}


@pytest.mark.parametrize(
    "line", ["", "data:", "data: [DONE]", "data: 7", "data: null", "data: {", ": ping", "no event", "data: {}"]
)
def test_lines_that_are_not_events_add_nothing(line: str) -> None:
    assert joined(line) == joined(line + "\n\n") == {}


def test_text_may_have_other_ends_of_lines_in_it() -> None:
    text = "a\u2028b\x85c\x0cd"
    stream = f"data: {json.dumps({'choices': [{'index': 0, 'text': text}]}, ensure_ascii=False)}\n\n"
    assert joined(stream)["choices"][0]["text"] == text


def test_usage_without_choices_is_passed_over() -> None:
    stream = as_stream({"choices": [{"text": "1", "finish_reason": "stop"}]}, {"choices": [], "usage": {"n": 1}})
    assert joined(stream) == {"choices": [{"index": 0, "text": "1", "finish_reason": "stop"}]}
