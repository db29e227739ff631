"""Tokens of a prompt and an answer together, as a model is trained on them."""

from __future__ import annotations

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
