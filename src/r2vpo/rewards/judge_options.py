"""Options of the reward `judge`."""

from __future__ import annotations

import re

from pydantic import ConfigDict, Field, field_validator, model_validator

from r2vpo.exchange import url_problem
from r2vpo.rewards.options import RewardOptions


class JudgeOptions(RewardOptions):
    """Options of `judge`.

    Attributes:
        url: what comes before `/chat/completions`.
        model: the model's name at the endpoint.
        api_key_env: the environment variable that holds the key; None sends none.
        template: the request for a grade, with {completion}, and {question}, {answer} and {highest} if they are
            wanted; None is the one of this module.
        highest: the highest grade; a grade is divided by it.
        concurrency: requests at a time.
        timeout_seconds: for a whole exchange, from looking up the endpoint's name to the last byte of its reply.
        attempts: how often a request is sent before it counts as failed, and its row has no grade.
        reply_tokens: limit for a reply.
        seed: sent with every request.
        max_requests: limit for all requests together, repeated ones too; None is no limit.
        max_tokens: limit for all tokens together that the endpoint reports; None is no limit.
    """

    # What is wrong with the first and the third is said for the whole: a field's own message repeats its value.
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

    @model_validator(mode="after")
    def _without_secrets(self) -> JudgeOptions:
        problem = url_problem(self.url)
        if problem is not None:
            raise ValueError(
                f"url: {problem}: write http://host:port/v1, and name the variable of a key in api_key_env"
            )
        if self.api_key_env is not None and not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", self.api_key_env):
            raise ValueError(
                "api_key_env: is not the name of an environment variable: export the key in one, and write its name"
            )
        return self

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, template: str | None) -> str | None:
        if template is not None and "{completion}" not in template:
            raise ValueError("is a text without {completion}; write {completion} where the completion goes")
        return template
