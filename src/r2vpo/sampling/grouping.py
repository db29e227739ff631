"""Prompts of a trainer's rows, each once for all rows that share it."""

from __future__ import annotations

from typing import Any


def tokenized_groups(prompts: list[Any], trainer: Any) -> tuple[list[list[int]], int]:
    """Tokenise the prompts of a process's rows, once per group if its rows form whole groups of one prompt.

    The end of a process's part of an evaluation batch may cut a group, and an environment may give each of its rows a
    different prompt; every row is then a separate group.

    Args:
        prompts: one per row, those of a group adjacent.
        trainer: a trainer of TRL.

    Returns:
        Token ids of the prompts to sample from, and how many responses to draw for each.
    """
    size = trainer.num_generations if trainer.model.training else trainer.num_generations_eval
    if trainer.environment_factories is not None or len(prompts) % size:
        size = 1
    return trainer._tokenize_prompts(prompts[::size])[0], size
