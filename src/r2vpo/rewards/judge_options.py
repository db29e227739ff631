"""Options of the reward `judge`."""

from __future__ import annotations

import re
from typing import Any

from pydantic import ConfigDict, Field, field_validator, model_validator

from r2vpo.http_terms import url_problem
from r2vpo.rewards.options import RewardOptions

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class JudgeOptions(RewardOptions):
    """Options of `judge`.

    Attributes:
        url: the part before `/chat/completions`.
        model: the model's name at the endpoint.
        api_key_env: the environment variable that holds the key; None sends no key.
        template: the request for a grade, with {completion}, and optionally {question}, {answer} and {highest}; None
            uses the built-in one.
        highest: the highest grade; a grade is divided by it.
        concurrency: number of simultaneous requests.
        timeout_seconds: limit for a whole exchange, from the name lookup to the last byte of the reply.
        attempts: how many times a request is sent before it counts as failed and its row has no grade.
        reply_tokens: limit for a reply.
        seed: seed sent with every request.
        max_requests: limit for all requests together, including repeated ones; None means no limit.
        max_tokens: limit for the tokens of all requests that the endpoint reports; None means no limit.
    """

    # Messages of a field repeat its value, which may be a secret: problems with these are reported for the whole model.
    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    model: str = Field(min_length=1)
    api_key_env: str | None = None
    template: str | None = None
    highest: int = Field(default=10, ge=1, le=1_000_000)
    concurrency: int = Field(default=8, ge=1)
    timeout_seconds: float = Field(default=60.0, gt=0)
    attempts: int = Field(default=5, ge=1)
    reply_tokens: int = Field(default=256, ge=1)
    seed: int = 0
    max_requests: int | None = Field(default=None, ge=1)
    max_tokens: int | None = Field(default=None, ge=1)

    @model_validator(mode="before")
    @classmethod
    def _without_secrets(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        url, variable = values.get("url", ""), values.get("api_key_env")
        for name in values:
            if name not in cls.model_fields:
                raise ValueError(
                    f"{name}: is not an option of judge; a key goes into the variable that api_key_env names"
                )
        problem = url_problem(url) if isinstance(url, str) else "it is not a text"
        if "url" in values and problem is not None:
            raise ValueError(f"url: {problem}: write http://host:port/v1; a key goes into the variable of api_key_env")
        if variable is not None and not (isinstance(variable, str) and _VARIABLE.fullmatch(variable)):
            raise ValueError(
                "api_key_env: is not the name of an environment variable: export the key in one, and write its name"
            )
        return values

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str | None) -> str | None:
        if template is not None and "{completion}" not in template:
            raise ValueError("is a text without {completion}; write {completion} where the completion goes")
        return template
