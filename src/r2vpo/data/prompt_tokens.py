"""Tokens of prompts: encoding, lengths, and prompts that a model cannot be given, too long or without a template."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from r2vpo.data.rows import Prompt, PromptData, PromptRow
from r2vpo.errors import UserError

CHUNK = 1000
"""Number of prompts tokenised at once."""
AS_TEXTS = (
    "write the prompts as texts without data.system_prompt and set data.format=text, or take a model that was trained "
    "on such chats"
)
"""What to do in a recipe if its model cannot be given chats."""


def encode_prompt(tokenizer: Any, prompt: Prompt, chat_template_kwargs: Mapping[str, Any] | None = None) -> list[int]:
    """Return a prompt's tokens, encoded as in TRL's trainer.

    Args:
        tokenizer: a transformers tokenizer.
        prompt: a text, or chat messages (the chat template is applied).
        chat_template_kwargs: further arguments of the chat template, as `R2VPOConfig.chat_template_kwargs`.
    """
    if isinstance(prompt, str):
        return list(tokenizer(prompt)["input_ids"])
    encoded = tokenizer.apply_chat_template(
        prompt, add_generation_prompt=True, tokenize=True, return_dict=True, **(chat_template_kwargs or {})
    )
    return list(encoded["input_ids"])


def prompt_lengths(prompts: Sequence[Prompt], tokenizer: Any) -> list[int]:
    """Count the tokens that `encode_prompt` makes of each prompt.

    Args:
        prompts: texts, or lists of chat messages.
        tokenizer: the model's; a chat is counted with its template.
    """
    lengths: dict[int, int] = {}
    for is_chat in (False, True):
        rows = [row for row, prompt in enumerate(prompts) if isinstance(prompt, list) == is_chat]
        for start in range(0, len(rows), CHUNK):
            part = rows[start : start + CHUNK]
            texts = [prompts[row] for row in part]
            if is_chat:
                found = tokenizer.apply_chat_template(
                    texts, add_generation_prompt=True, tokenize=True, return_dict=True
                )
            else:
                # The callers refuse a text longer than model_max_length.
                found = tokenizer(texts, verbose=False)
            lengths |= {row: len(ids) for row, ids in zip(part, found["input_ids"], strict=True)}
    return [lengths[row] for row in range(len(prompts))]


def check_chats(prompts: Sequence[Prompt], tokenizer: Any, *, key: str, remedy: str) -> None:
    """Refuse chats that a tokenizer cannot format.

    Args:
        prompts: texts, or lists of chat messages; one chat is tried for each sequence of roles.
        tokenizer: the model's.
        key: the setting that the message begins with.
        remedy: what to set instead.

    Raises:
        UserError: the tokenizer has no chat template, or its template fails.
    """
    chats = {tuple(message["role"] for message in prompt): prompt for prompt in prompts if isinstance(prompt, list)}
    if chats and not getattr(tokenizer, "chat_template", None):
        raise UserError(f"{key}: this model's tokenizer has no chat template, and the prompts are chats: {remedy}")
    for roles, chat in chats.items():
        try:
            tokenizer.apply_chat_template(chat, add_generation_prompt=True, tokenize=False)
        except Exception as error:  # a template is a program and can raise anything
            said = " ".join(str(error).split())
            raise UserError(
                f"{key}: the chat template of this model's tokenizer cannot format a chat of {', '.join(roles)} "
                f"({type(error).__name__}: {said[:200]}): {remedy}"
            ) from error


def without_long_prompts(data: PromptData, tokenizer: Any, most: int) -> PromptData:
    """Leave out training and held-out problems whose prompt is longer than a limit.

    Args:
        data: the problems.
        tokenizer: the model's; a chat is counted with its template.
        most: the limit, in tokens.

    Returns:
        The remaining problems; `left_out` counts the long ones.

    Raises:
        UserError: nothing is left to train on, or nothing to evaluate on.
    """
    left_out = Counter(data.left_out)

    def short(rows: list[PromptRow], word: str) -> list[PromptRow]:
        lengths = prompt_lengths([row.prompt for row in rows], tokenizer)
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
    """Return the number of tokens of the longest training prompt.

    Args:
        data: the problems.
        tokenizer: the model's; a chat is counted with its template.
    """
    return max(prompt_lengths([row.prompt for row in data.train], tokenizer))
