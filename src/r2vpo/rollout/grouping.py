"""Prompts of a trainer's rows, each once for the rows that share it."""

from __future__ import annotations

from typing import Any


def tokenized_groups(prompts: list[Any], trainer: Any) -> tuple[list[list[int]], int]:
    """Tokenise the prompts of a process's rows, each once a group where its rows are whole groups of one prompt.

    A group may be cut by the end of a process's part of an evaluation batch, and an environment may give each of its
    rows a prompt of its own; every row is then a group by itself.

    Args:
        prompts: one a row, those of a group one after the other.
        trainer: a trainer of TRL.

    Returns:
        Token ids of the prompts to sample from, and how many responses to draw for each.
    """
    size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    if trainer.environment_factories is not None or len(prompts) % size:
        size = 1
    return trainer._tokenize_prompts(prompts[::size])[0], size
