"""Token ids and log-probs are found wherever a server puts them."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from r2vpo.recording import left_out
from r2vpo.recording.answers import exchange_of
from r2vpo.recording.left_out import Unusable
from tests.unit.recording import logs

CHAT = [{"role": "user", "content": "7+8="}]


def answers(row: dict[str, Any]) -> list[Any]:
    return [read() for read in exchange_of(row).answers]


def test_a_completion_of_vllm_has_two_answers() -> None:
    first, second = answers(logs.COMPLETION)
    assert first.prompt_ids == second.prompt_ids == [9, 12, 10, 14] and first.prompt == "7+8="
    assert first.ids == [0, 8, 6, 5, 3, 3] and first.log_probs[0] == -2.9239392280578613
    assert first.text == " 6 4 3 1 1" and first.ended is False
    assert first.id == f"{first.response}/0" and second.id == f"{first.response}/1"
    assert exchange_of(logs.COMPLETION).model == "tiny"


def test_several_prompts_in_one_request_keep_their_answers() -> None:
    assert [answer.prompt for answer in answers(logs.SEVERAL)] == ["7+8=", "7+8=", "1+2=", "1+2="]
    assert answers(logs.SEVERAL)[2].prompt_ids == [3, 12, 4, 14]


def test_a_chat_of_vllm() -> None:
    (answer,) = answers(logs.CHAT)
    assert answer.prompt == CHAT and answer.prompt_ids == [9, 12, 10, 14]
    assert answer.ids == [13, 5, 4, 8, 4, 8] and answer.log_probs[1] == -0.2883507311344147


@pytest.mark.parametrize("row", [logs.STREAM, logs.CHAT_STREAM])
def test_a_stream_is_read_as_the_whole_response(row: dict[str, Any]) -> None:
    for answer in answers(row):
        assert len(answer.ids) == len(answer.log_probs) > 1 and answer.prompt_ids == [9, 12, 10, 14]
        assert answer.text and answer.ended is not None


def test_ids_in_place_of_tokens_are_read_if_the_prompt_was_sent_as_ids() -> None:
    row = copy.deepcopy(logs.AS_TEXT)
    row["request"]["prompt"] = [9, 12, 10, 14]
    (answer,) = answers(row)
    assert answer.ids == [6, 9, 0, 0, 15, 5] and answer.prompt_ids == [9, 12, 10, 14] and answer.prompt is None


def test_ids_of_a_prompt_that_the_server_has_cut_are_not_taken_from_the_request() -> None:
    row = copy.deepcopy(logs.AS_TEXT)
    row["request"] |= {"prompt": [9, 12, 10, 14], "truncate_prompt_tokens": 2}
    with pytest.raises(Unusable) as found:
        answers(row)
    assert found.value.reason is left_out.NO_PROMPT_IDS
    row["response"]["choices"][0]["prompt_token_ids"] = [10, 14]
    assert answers(row)[0].prompt_ids == [10, 14]


def test_an_end_token_ends_an_answer() -> None:
    (answer,) = answers(logs.ENDED)
    assert answer.ids == [5, 1] and answer.ended is True


def test_sglang() -> None:
    (answer,) = answers(logs.SGLANG)
    assert (answer.ids, answer.log_probs, answer.prompt) == ([3, 7], [-0.5, -0.25], CHAT)
    old = copy.deepcopy(logs.SGLANG)
    del old["response"]["choices"][0]["token_ids"]
    assert answers(old) == [answer]


def test_lightllm() -> None:
    first, second = answers(logs.LIGHTLLM)
    assert (first.ids, first.log_probs, first.text, first.ended) == ([3, 7], [-0.5, -0.25], "15", True)
    assert (second.ids, second.ended) == ([3], False)
    one = {
        "request": logs.LIGHTLLM["request"],
        "response": {
            name: value if name == "prompt_tokens" else value[:1] if name == "generated_text" else value[0]
            for name, value in logs.LIGHTLLM["response"].items()
        },
    }
    (only,) = answers(one)
    assert (only.ids, only.log_probs, only.ended) == (first.ids, first.log_probs, True)


def test_a_flat_row() -> None:
    (answer,) = answers(logs.flat(answer="15"))
    assert answer.ids == [3, 7] and answer.prompt_ids == [9, 12, 10, 14] and answer.id is None


def changed(choice: dict[str, Any] | None = None, **response: Any) -> dict[str, Any]:
    row = copy.deepcopy(logs.CHAT)
    row["response"] |= response
    row["response"]["choices"][0] |= choice or {}
    return row


def log_probs(*values: Any) -> dict[str, Any]:
    return {"logprobs": {"content": [{"token": "", "logprob": value} for value in values]}}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"a": 1}, left_out.NO_EXCHANGE),
        ({"request": {}, "response": None}, left_out.NO_EXCHANGE),
        (logs.ERROR, left_out.ERROR),
        ({"request": {}, "response": ""}, left_out.ERROR),
        ({"request": {}, "response": logs.STREAM["response"][:100]}, left_out.ERROR),
        ({"request": {}, "response": logs.STREAM["response"][:900]}, left_out.UNFINISHED),
        (changed({"finish_reason": "abort"}), left_out.UNFINISHED),
        (logs.NO_LOG_PROBS, left_out.NO_LOG_PROBS),
        (changed({"token_ids": None}), left_out.NO_IDS),
        (changed(prompt_token_ids=None), left_out.NO_PROMPT_IDS),
        (logs.AS_TEXT, left_out.NO_PROMPT_IDS),
        (changed({"token_ids": []} | log_probs()), left_out.EMPTY),
        (changed({"token_ids": [3]}), left_out.NUMBERS_DIFFER),
        (changed({"token_ids": [3]} | log_probs(0.5)), left_out.IMPOSSIBLE),
        (changed({"token_ids": [3]} | log_probs(-9999.0)), left_out.IMPOSSIBLE),
        (changed({"token_ids": [3]} | log_probs(None)), left_out.IMPOSSIBLE),
        (changed({"token_ids": [3]} | log_probs(float("nan"))), left_out.IMPOSSIBLE),
        (changed({"token_ids": ["3"]} | log_probs(-1.0)), left_out.IMPOSSIBLE),
        (changed({"token_ids": [-1]} | log_probs(-1.0)), left_out.IMPOSSIBLE),
    ],
)
def test_what_cannot_be_used_has_a_reason(row: dict[str, Any], reason: left_out.Reason) -> None:
    with pytest.raises(Unusable) as found:
        answers(row)
    assert found.value.reason is reason


def test_pictures_are_left_out() -> None:
    row = copy.deepcopy(logs.CHAT)
    row["request"]["messages"][0]["content"] = [{"type": "image_url", "image_url": {"url": "data:"}}]
    with pytest.raises(Unusable) as found:
        answers(row)
    assert found.value.reason is left_out.NOT_TEXT and found.value.detail == "image_url"
