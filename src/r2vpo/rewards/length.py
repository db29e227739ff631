"""A penalty on completions that come close to the length limit."""

from __future__ import annotations

from typing import Any

from pydantic import Field, model_validator

from r2vpo.rewards.options import RewardOptions


class LengthOptions(RewardOptions):
    """Options of `length`, in tokens.

    Attributes:
        max_tokens: L_max, the length from which the penalty is -1.
        cache_tokens: L_cache, the width of the slope before that.
    """

    max_tokens: int = Field(ge=1)
    cache_tokens: int = Field(ge=1)

    @model_validator(mode="after")
    def _slope_fits(self) -> LengthOptions:
        if self.cache_tokens > self.max_tokens:
            raise ValueError(f"cache_tokens = {self.cache_tokens} is over max_tokens = {self.max_tokens}: lower it")
        return self


def length_reward(options: LengthOptions) -> Any:
    """Give 0 up to L_max - L_cache tokens, then a linear decrease to -1 at L_max, and -1 beyond.

        R(y) = 0                                  |y| <= L_max - L_cache
        R(y) = ((L_max - L_cache) - |y|) / L_cache  up to L_max
        R(y) = -1                                 L_max < |y|

    |y| is the length of the completion in tokens.

    Returns:
        The reward function; it needs the column `completion_ids`, which the trainer and the evaluation pass.

    Source:
        DAPO, arXiv 2503.14476, equation 13.
    """
    start, width = options.max_tokens - options.cache_tokens, options.cache_tokens

    def length(prompts: list[Any], completions: list[Any], completion_ids: list[Any], **_: Any) -> list[float]:
        return [-min(1.0, max(0.0, (len(ids) - start) / width)) for ids in completion_ids]

    return length
