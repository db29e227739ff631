"""Prompts that are too long for a model, which only its tokenizer can tell."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

from r2vpo.data import PromptData, PromptRow
from r2vpo.errors import UserError
from r2vpo.evaluation import encode_prompt


def without_long_prompts(data: PromptData, tokenizer: Any, most: int) -> PromptData:
    """Leave out the problems, to train on and held out, whose prompt is longer than a limit.

    Args:
        data: the problems.
        tokenizer: the model's; a chat is counted with its template.
        most: the limit, in tokens.

    Returns:
        The other problems; `left_out` counts the long ones.

    Raises:
        UserError: nothing is left to train on, or nothing to evaluate on.
    """
    left_out = Counter(data.left_out)

    def short(rows: list[PromptRow], word: str) -> list[PromptRow]:
        lengths = [len(encode_prompt(tokenizer, row.prompt)) for row in rows]
        kept = [row for row, length in zip(rows, lengths, strict=True) if length <= most]
        if rows and not kept:
            raise UserError(
                f"data.max_prompt_tokens = {most}: all {len(rows)} {word} prompts are longer, the shortest has "
                f"{min(lengths)} tokens: raise it, or show fewer examples (data.few_shot)"
            )
        if len(kept) < len(rows):
            left_out[f"{word} prompts longer than {most} tokens"] += len(rows) - len(kept)
        return kept

    train, held_out = short(data.train, "training"), short(data.held_out, "held-out")
    return replace(data, train=train, held_out=held_out, left_out=dict(left_out))


def longest_prompt(data: PromptData, tokenizer: Any) -> int:
    """Tokens of the longest prompt to train on.

    Args:
        data: the problems.
        tokenizer: the model's; a chat is counted with its template.
    """
    return max(len(encode_prompt(tokenizer, row.prompt)) for row in data.train)
