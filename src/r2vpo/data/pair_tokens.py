"""Tokens of a prompt and an answer together, as a model is trained on them, and the token that ends a given answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from r2vpo.data.rows import Prompt, answer_turn


def encode_answered(tokenizer: Any, prompt: Prompt, answer: str) -> list[int]:
    """Return the tokens of a prompt with an answer as TRL's `DPOTrainer` makes them.

    Args:
        tokenizer: the model's.
        prompt: a text, or chat messages, to which the template is applied.
        answer: what follows it.

    Returns:
        The tokens; those of a text without the end token that TRL appends.
    """
    if isinstance(prompt, str):
        return list(tokenizer(f"{prompt}{answer}", verbose=False)["input_ids"])
    chat = [*prompt, answer_turn(answer)]
    return list(tokenizer.apply_chat_template(chat, tokenize=True, return_dict=True)["input_ids"])


def end_of_answers(tokenizer: Any, stop: Sequence[str]) -> int:
    """Return the id with which a given answer to a text ends: it ends as the answers that are sampled to texts do.

    Args:
        tokenizer: the model's.
        stop: texts of one token each that end a sampled answer; the first of them ends a given one.

    Returns:
        The id of the first stop text; without one that of the tokenizer's end token.
    """
    number: int = tokenizer.encode(stop[0], add_special_tokens=False)[0] if stop else tokenizer.eos_token_id
    return number
