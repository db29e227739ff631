"""Pairs with answers that are too long: they are left out and counted, and never cut."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from r2vpo.data.pair_tokens import encode_answered
from r2vpo.data.prompt_tokens import prompt_lengths
from r2vpo.data.rows import PromptData, PromptRow
from r2vpo.errors import UserError


def without_long_pairs(data: PromptData, tokenizer: Any, *, most_response: int | None, limit: int | None) -> PromptData:
    """Leave out training pairs of which an answer is longer than a limit.

    Args:
        data: the pairs, with their prompts as the model is given them.
        tokenizer: the model's.
        most_response: the most tokens of an answer, with the token that ends it; None means no limit.
        limit: the most tokens that the model can read, prompt and answer together; None means no limit.

    Returns:
        The remaining pairs; `left_out` counts the long ones.

    Raises:
        UserError: nothing is left to train on.
    """
    if most_response is None and limit is None:
        return data
    prompts = prompt_lengths([row.prompt for row in data.train], tokenizer)
    wholes = [_longer(row, tokenizer) for row in data.train]
    left_out, kept = Counter(data.left_out), []
    for row, prompt, whole in zip(data.train, prompts, wholes, strict=True):
        if limit is not None and whole > limit:
            left_out[f"pairs longer than the {limit} tokens that the model can read"] += 1
        elif most_response is not None and whole - prompt > most_response:
            left_out[f"pairs with an answer longer than {most_response} tokens"] += 1
        else:
            kept.append(row)
    if not kept:
        shortest = min(whole - prompt for whole, prompt in zip(wholes, prompts, strict=True))
        raise UserError(
            f"data: all {len(data.train)} pairs are too long, in the shortest the longer answer has {shortest} tokens: "
            "raise data.max_response_tokens, or take a model that can read more"
        )
    return replace(data, train=kept, left_out=dict(left_out))


def _longer(row: PromptRow, tokenizer: Any) -> int:
    """Count the tokens of the prompt with the longer answer, and the token that ends it."""
    assert row.pair is not None, "called only with pairs"
    end = isinstance(row.prompt, str)
    return end + max(len(encode_answered(tokenizer, row.prompt, one)) for one in (row.pair.chosen, row.pair.rejected))
