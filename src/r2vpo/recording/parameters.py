"""Which sampling parameters of a request the server's log-probs reflect.

A stored token is weighted by `pi / mu`, so its log-prob has to be the one that it was drawn with. Servers differ in
where they take it: vLLM by default from the model's logits, before temperature, penalties and filters; SGLang and
LightLLM after temperature and penalties, and before top_p, top_k and min_p; vLLM with `--logprobs-mode
processed_logprobs` after all of them. Answers whose log-probs miss something that was set are left out, and so are
those with a parameter that is not known here.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from r2vpo.recording.left_out import Reason, Unusable

LogProbsOf = Literal["model", "temperature", "sampling"]
"""The distribution whose log-probs a server returns: the model's; after temperature and penalties; after all."""

LEVELS: tuple[str, ...] = get_args(LogProbsOf)
_NEVER = len(LEVELS)
_SHORT = 60

_GREEDY_BELOW = 1e-5
"""Below this temperature, servers take the most probable token, and return log-probs of another temperature."""


class Parameter(NamedTuple):
    """A sampling parameter: the values that change nothing, and the first of `LEVELS` that reflects the others."""

    neutral: tuple[Any, ...]
    level: int


PARAMETERS = {
    "frequency_penalty": Parameter((0,), 1),
    "presence_penalty": Parameter((0,), 1),
    "repetition_penalty": Parameter((1,), 1),
    "exponential_decay_length_penalty": Parameter(([1, 1],), 1),
    "logit_bias": Parameter(({},), 1),
    "min_tokens": Parameter((0,), 1),
    "min_new_tokens": Parameter((0, 1), 1),
    "response_format": Parameter(({"type": "text"},), 1),
    "tool_choice": Parameter(("none", "auto"), 1),
    **{
        name: Parameter(({}, ""), 1)
        for name in (
            "structured_outputs",
            "guided_json",
            "guided_regex",
            "guided_choice",
            "guided_grammar",
            "json_schema",
            "regex",
            "ebnf",
        )
    },
    "custom_logit_processor": Parameter(("",), 1),
    "top_p": Parameter((1,), 2),
    "top_k": Parameter((-1, 0), 2),
    "min_p": Parameter((0,), 2),
    "allowed_token_ids": Parameter(([],), 2),
    "bad_words": Parameter(([],), 2),
    "logits_processors": Parameter(([],), 2),
    "use_beam_search": Parameter((False,), _NEVER),
    "watermarking": Parameter((False,), _NEVER),
    "thinking_token_budget": Parameter((-1,), _NEVER),
    "echo": Parameter((False,), _NEVER),
}

HARMLESS = frozenset(
    """add_generation_prompt add_special_tokens cache_salt chat_template chat_template_kwargs
    continue_final_message custom_labels do_sample documents extra_key function_call functions ignore_eos
    include_reasoning include_stop_str_in_output input_ids inputs length_penalty logprob_token_ids logprobs
    lora_path max_completion_tokens max_new_tokens max_tokens messages metadata model n no_stop_trim
    parallel_tool_calls priority prompt prompt_logprobs reasoning_effort repetition_detection request_id
    return_cached_tokens_details return_details return_meta_info return_prompt_text return_prompt_token_ids
    return_token_ids return_token_offsets return_tokens_as_token_ids rid seed separate_reasoning service_tier
    session_id skip_special_tokens spaces_between_special_tokens stop stop_regex stop_sequences stop_token_ids
    store stream stream_interval stream_options stream_reasoning temperature tools top_logprobs
    truncate_prompt_tokens truncation_side user""".split()
)
"""Fields of a request that leave the distribution of each token as it is, or are read elsewhere."""


def temperature_of(parameters: Mapping[str, Any], defaults: Mapping[str, Any], log_probs_of: LogProbsOf) -> float:
    """Return the temperature of a request, after checking that the log-probs reflect all of its parameters.

    Args:
        parameters: The request's fields; null is a field that was not given.
        defaults: What the server uses for fields that were not given.
        log_probs_of: The distribution whose log-probs the server returns.

    Raises:
        Unusable: The log-probs are of another distribution than the one that was sampled from.
    """
    given = {**defaults, **{name: value for name, value in parameters.items() if value is not None}}
    level = LEVELS.index(log_probs_of)
    temperature = given.get("temperature", 1)
    if type(temperature) not in (int, float) or not 0 <= temperature < math.inf:
        raise Unusable(_unknown("temperature"), f"{temperature!r}"[:_SHORT])
    if temperature < _GREEDY_BELOW or given.get("do_sample") is False:
        raise Unusable(_GREEDY)
    if temperature != 1 and level < 1:
        raise Unusable(_missed("temperature", 1), f"temperature {temperature:g}")
    if given.get("best_of", 1) not in (1, given.get("n", 1)):
        raise Unusable(_missed("best_of", _NEVER), f"best_of {given['best_of']} of n {given.get('n', 1)}")
    for name, value in given.items():
        if name in HARMLESS or name == "best_of":
            continue
        if name not in PARAMETERS:
            raise Unusable(_unknown(name), f"{name} {value!r}"[:_SHORT])
        if value not in PARAMETERS[name].neutral and level < PARAMETERS[name].level:
            raise Unusable(_missed(name, PARAMETERS[name].level), f"{name} {value!r}"[:_SHORT])
    return float(temperature)


_GREEDY = Reason("the most probable token was taken each time", "sample: send a temperature above 0")
_SERVERS = (
    "",
    "if the server is SGLang or LightLLM, add --log-probs-of temperature",
    "start vLLM with --logprobs-mode processed_logprobs, and then import with --log-probs-of sampling",
)


def _missed(name: str, level: int) -> Reason:
    if level >= _NEVER:
        return Reason(f"sampled with {name}", f"send requests without {name}: no log-probs of a server reflect it")
    remedy = " or ".join(_SERVERS[level:]) if level == 1 else f"{_SERVERS[2]}, or send requests without {name}"
    return Reason(f"sampled with {name}, which the log-probs do not reflect", remedy)


def _unknown(name: str) -> Reason:
    return Reason(f"an unknown sampling parameter, {name}", "send requests without it: it may change the distribution")
