"""The answers of a server in the forms in which it returns token ids and log-probs.

| server | endpoint | what the request must have |
|---|---|---|
| vLLM, SGLang | `/v1/completions` | `"logprobs": 1, "return_token_ids": true` |
| vLLM, SGLang | `/v1/chat/completions` | `"logprobs": true, "return_token_ids": true` |
| LightLLM | `/generate` | `"return_details": true`, and token ids as `"inputs"` |

A flat row has `prompt_token_ids`, `token_ids` and `logprobs`, and may have `text`, `prompt`, `id`, `model`,
`finish_reason` and `sampling_params`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from r2vpo.recording import left_out
from r2vpo.recording.left_out import Unusable
from r2vpo.recording.lines import row_in
from r2vpo.recording.streams import joined

LARGEST_LOG_PROB = 1e-3
"""Log-probs up to this are 0 plus rounding."""

LEAST_LOG_PROB = -1e3
"""Servers write a smaller number for a token that cannot be drawn."""

_TOKEN_ID = "token_id:"


@dataclass(frozen=True)
class Answer:
    """One answer of a server.

    Attributes:
        prompt_ids: Tokens of the prompt.
        ids: Tokens of the answer.
        log_probs: Of each of them, in nats.
        prompt: What was asked, a text or messages; None if it is not known.
        text: What the server made of the tokens; None if it is not known.
        id: The answer's name, see `answer_name`; None if the response has no id.
        response: The response's id.
        ended: Whether the answer ended by itself; False if it was cut; None if it is not known.
    """

    prompt_ids: list[int]
    ids: list[int]
    log_probs: list[float]
    prompt: Any
    text: str | None
    id: str | None
    response: str | None
    ended: bool | None


@dataclass(frozen=True)
class Exchange:
    """A row of a log.

    Attributes:
        row: The row, with its request as an object.
        parameters: The request's fields, or the sampling parameters of a flat row.
        model: The model's name, as the server calls it.
        created: When the response was created, as the server says.
        answers: Each returns an answer, or raises `Unusable`.
    """

    row: Mapping[str, Any]
    parameters: Mapping[str, Any]
    model: str | None
    created: Any
    answers: Sequence[Callable[[], Answer]]


def answer_name(response: Any, index: Any) -> str:
    """Return what an answer is called: its response's id with its `index` there."""
    return f"{response}/{index}"


def exchange_of(row: Mapping[str, Any]) -> Exchange:
    """Read a row of a log.

    Args:
        row: `{"request": ..., "response": ...}`, both as objects or as the texts that were sent, or a flat row.

    Raises:
        Unusable: It is neither, or the server returned an error.
    """
    request, response = row.get("request"), row.get("response")
    if isinstance(request, str):
        request = row_in(request)
    if isinstance(response, str):
        response = row_in(response) if response.lstrip().startswith("{") else joined(response)
    if not isinstance(request, dict) or not isinstance(response, dict):
        if any(isinstance(row.get(name), list) for name in ("token_ids", "logprobs", "prompt_token_ids")):
            return Exchange(row, _mapping(row.get("sampling_params")), row.get("model"), None, [lambda: _flat(row)])
        raise Unusable(left_out.NO_EXCHANGE)
    row = {**row, "request": request}
    model, created = response.get("model", request.get("model")), response.get("created")
    if isinstance(response.get("choices"), list):
        choices = [choice for choice in response["choices"] if isinstance(choice, dict)]
        return Exchange(
            row, request, model, created, [_later(_choice, request, response, choice) for choice in choices]
        )
    if "generated_text" in response:
        parameters = {"do_sample": False, **_mapping(request.get("parameters"))}
        count = len(response["generated_text"])
        return Exchange(
            row,
            parameters,
            model,
            created,
            [_later(_lightllm, request, response, place, count) for place in range(count)],
        )
    raise Unusable(left_out.ERROR, str(response.get("error", response))[:80])


def _choice(request: Mapping[str, Any], response: Mapping[str, Any], choice: Mapping[str, Any]) -> Answer:
    """Read a choice of `/v1/completions` or `/v1/chat/completions`."""
    index = choice.get("index", 0)
    ids, log_probs = _tokens(choice)
    prompt: Any = request.get("messages", request.get("prompt"))
    if "messages" not in request and isinstance(prompt, list) and prompt and not isinstance(prompt[0], int):
        prompt = prompt[index // (request.get("n") or 1)] if index < len(prompt) * (request.get("n") or 1) else None
    prompt_ids = choice.get("prompt_token_ids") or response.get("prompt_token_ids")
    if prompt_ids is None and _are_ids(prompt) and not request.get("truncate_prompt_tokens"):
        prompt_ids = prompt
    message = choice.get("message")
    text = message.get("content") if isinstance(message, dict) else choice.get("text")
    return _checked(
        prompt_ids, ids, log_probs, _plain(prompt), text, response.get("id"), index, choice.get("finish_reason")
    )


def _tokens(choice: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a choice's token ids and log-probs, wherever the server puts them; None for what it has not."""
    found = _mapping(choice.get("logprobs"))
    content = found.get("content")
    if isinstance(content, list):
        log_probs: Any = [_mapping(token).get("logprob") for token in content]
        names: Any = [_mapping(token).get("token") for token in content]
    else:
        log_probs, names = found.get("token_logprobs"), found.get("tokens")
    ids = choice.get("token_ids")
    details = _mapping(choice.get("meta_info")).get("output_token_logprobs")
    if isinstance(details, list):  # SGLang: (log-prob, id, text) of each token
        log_probs = [token[0] for token in details] if log_probs is None else log_probs
        ids = [token[1] for token in details] if ids is None else ids
    if ids is None and names and all(isinstance(name, str) and name.startswith(_TOKEN_ID) for name in names):
        ids = [int(name.removeprefix(_TOKEN_ID)) for name in names]  # vLLM, --return-tokens-as-token-ids
    return ids, log_probs


def _lightllm(request: Mapping[str, Any], response: Mapping[str, Any], place: int, count: int) -> Answer:
    """Read an answer of LightLLM's `/generate`, which lists the fields of several answers."""

    def field(name: str) -> Any:
        value = response.get(name)
        return value[place] if count > 1 and isinstance(value, list) else value

    tokens, prompt = field("tokens"), request.get("inputs")
    ids = log_probs = None
    if isinstance(tokens, list):
        ids = [_mapping(token).get("id") for token in tokens]
        log_probs = [_mapping(token).get("logprob") for token in tokens]
    prompt_ids = response.get("prompt_token_ids") or (prompt if _are_ids(prompt) else None)
    text = response["generated_text"][place]
    return _checked(prompt_ids, ids, log_probs, _plain(prompt), text, response.get("id"), place, field("finish_reason"))


def _flat(row: Mapping[str, Any]) -> Answer:
    return _checked(
        row.get("prompt_token_ids"),
        row.get("token_ids"),
        row.get("logprobs"),
        _plain(row.get("prompt", row.get("messages"))),
        row.get("text"),
        row.get("id"),
        0,
        row.get("finish_reason", "unknown"),
    )


def _checked(
    prompt_ids: Any, ids: Any, log_probs: Any, prompt: Any, text: Any, response: Any, index: int, finish: Any
) -> Answer:
    if finish in (None, "abort", "error", "content_filter"):
        raise Unusable(left_out.UNFINISHED, f"finish_reason {finish}")
    if ids is None:
        raise Unusable(left_out.NO_IDS)
    if not log_probs and ids:
        raise Unusable(left_out.NO_LOG_PROBS)
    if not ids:
        raise Unusable(left_out.EMPTY)
    if not prompt_ids:
        raise Unusable(left_out.NO_PROMPT_IDS)
    if not isinstance(log_probs, list) or not isinstance(ids, list) or len(log_probs) != len(ids):
        raise Unusable(left_out.NUMBERS_DIFFER, f"{_length(log_probs)} log-probs, {_length(ids)} token ids")
    if not _are_ids(ids) or not _are_ids(prompt_ids):
        raise Unusable(left_out.IMPOSSIBLE, "a token id is not a whole number of at least 0")
    for value in log_probs:
        if type(value) not in (int, float) or not LEAST_LOG_PROB <= value <= LARGEST_LOG_PROB or math.isnan(value):
            raise Unusable(left_out.IMPOSSIBLE, f"log-prob {value!r}"[:60])
    name = None if response is None else answer_name(response, index)
    ended = None if finish == "unknown" else finish != "length"
    return Answer(
        prompt_ids,
        ids,
        [min(float(value), 0.0) for value in log_probs],
        prompt,
        text if isinstance(text, str) else None,
        name,
        None if response is None else str(response),
        ended,
    )


def _plain(prompt: Any) -> Any:
    """Return a prompt as a reward reads it: a text, or messages with a role and a text; None for token ids."""
    if isinstance(prompt, str):
        return prompt
    if not isinstance(prompt, list) or _are_ids(prompt):
        return None
    return [
        {"role": str(_mapping(message).get("role")), "content": _text(_mapping(message).get("content"))}
        for message in prompt
    ]


def _text(content: Any) -> str:
    if isinstance(content, list):
        parts = [_mapping(part) for part in content]
        if any(part.get("type") != "text" for part in parts):
            raise Unusable(left_out.NOT_TEXT, ", ".join(sorted({str(part.get("type")) for part in parts})))
        return "".join(str(part.get("text")) for part in parts)
    return "" if content is None else str(content)


def _are_ids(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(type(one) is int and 0 <= one < 2**31 for one in value)


def _length(value: Any) -> str:
    return str(len(value)) if isinstance(value, list) else "no"


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _later(function: Callable[..., Answer], *arguments: Any) -> Callable[[], Answer]:
    return lambda: function(*arguments)
