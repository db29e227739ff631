"""Answers are used only if their log-probs are those of the distribution that they were sampled from."""

from __future__ import annotations

from typing import Any

import pytest

from r2vpo.recording.left_out import Unusable
from r2vpo.recording.parameters import HARMLESS, LEVELS, PARAMETERS, temperature_of
from tests.unit.recording import logs


def refused(parameters: dict[str, Any], level: str, defaults: dict[str, Any] | None = None) -> str | None:
    try:
        temperature_of(parameters, defaults or {}, level)  # type: ignore[arg-type]
    except Unusable as problem:
        return problem.reason.text
    return None


@pytest.mark.parametrize(
    ("name", "value", "first"),
    [
        ("temperature", 0.7, "temperature"),
        ("presence_penalty", 0.5, "temperature"),
        ("frequency_penalty", -0.5, "temperature"),
        ("repetition_penalty", 1.1, "temperature"),
        ("logit_bias", {"3": 5}, "temperature"),
        ("response_format", {"type": "json_object"}, "temperature"),
        ("structured_outputs", {"regex": "a+"}, "temperature"),
        ("tool_choice", "required", "temperature"),
        ("top_p", 0.9, "sampling"),
        ("top_k", 20, "sampling"),
        ("min_p", 0.1, "sampling"),
        ("bad_words", ["7"], "sampling"),
        ("echo", True, None),
        ("use_beam_search", True, None),
        ("best_of", 4, None),
    ],
)
def test_each_parameter_needs_log_probs_that_reflect_it(name: str, value: Any, first: str | None) -> None:
    for level in LEVELS:
        covered = first is not None and LEVELS.index(level) >= LEVELS.index(first)
        assert (refused({name: value}, level) is None) is covered
        assert (refused({}, level, {name: value}) is None) is covered, "what the server adds counts too"


@pytest.mark.parametrize("name", PARAMETERS)
def test_values_that_change_nothing_are_taken(name: str) -> None:
    for value in (*PARAMETERS[name].neutral, None):
        assert refused({name: value}, "model") is None


@pytest.mark.parametrize("temperature", [0, 0.0, 1e-7, 9e-6])
def test_the_most_probable_token_is_not_sampled(temperature: float) -> None:
    for level in LEVELS:
        assert refused({"temperature": temperature}, level) == "the most probable token was taken each time"


def test_what_the_request_gives_replaces_the_servers_default() -> None:
    assert refused({"top_p": 1.0}, "model", {"top_p": 0.8}) is None
    assert temperature_of({"temperature": 1}, {"temperature": 0.6}, "model") == 1.0
    assert temperature_of({"temperature": None}, {"temperature": 0.6}, "temperature") == 0.6


@pytest.mark.parametrize("level", LEVELS)
def test_greedy_answers_and_unknown_parameters_are_refused_always(level: str) -> None:
    assert "most probable" in (refused({"temperature": 0}, level) or "")
    assert "most probable" in (refused({"do_sample": False}, level) or "")
    assert refused({"sorcery": 3}, level) == "an unknown sampling parameter, sorcery"
    assert "unknown" in (refused({"temperature": "hot"}, level) or "")


def test_the_requests_of_the_recorded_logs_are_known() -> None:
    for row in logs.VLLM:
        assert refused(row["request"], "sampling") is None
    assert refused(logs.TOP_P["request"], "model") == "sampled with top_p, which the log-probs do not reflect"
    assert not HARMLESS & PARAMETERS.keys()


def test_the_remedy_names_what_to_change() -> None:
    with pytest.raises(Unusable) as found:
        temperature_of({"temperature": 0.7}, {}, "model")
    assert "--logprobs-mode processed_logprobs" in found.value.reason.remedy
    assert "--log-probs-of temperature" in found.value.reason.remedy
