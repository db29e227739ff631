"""The length of a recipe's longest prompt, measured where its problems and its tokenizer are on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from r2vpo.config.recipe import Recipe
from r2vpo.data import PromptRow, load_data
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_format import as_chats
from r2vpo.data.prompt_tokens import AS_TEXTS, check_chats, prompt_lengths
from r2vpo.planning.local_form import local_form, local_tokenizer

DEFAULT = 256
"""Tokens of a prompt that can neither be measured nor is bounded by the recipe."""
MEASURED = 2000
"""Prompts that are measured: those with the most characters."""


def prompt_tokens_of(recipe: Recipe) -> tuple[int, str]:
    """Return the number of tokens of a recipe's longest prompt, and where the number comes from.

    Nothing is downloaded. A prompt is measured in the form in which a run gives it to the model.

    Args:
        recipe: the recipe.

    Raises:
        UserError: problems that are on this machine cannot be read.
    """
    bound = recipe.data.max_prompt_tokens if isinstance(recipe.data, DatasetOptions) else None
    measured = _measured(recipe)
    if measured and bound is not None and max(measured) > bound:
        kept = max((length for length in measured if length <= bound), default=bound)
        return kept, "the longest that data.max_prompt_tokens keeps"
    if measured:
        return max(measured), "the recipe's longest, as the model is given it"
    return (DEFAULT, "assumed, set --prompt-tokens") if bound is None else (bound, "data.max_prompt_tokens")


def _measured(recipe: Recipe) -> list[int]:
    """Return the lengths of the longest prompts; none if problems or tokenizer are elsewhere."""
    if not _is_here(recipe):
        return []
    model = recipe.model
    options: dict[str, Any] = {"seed": recipe.model_seed, "trust_remote_code": model.trust_remote_code}
    tokenizer = local_tokenizer(model.name, **options)
    if tokenizer is None:
        return []
    data = load_data(recipe.data, seed=recipe.seed)
    rows: Sequence[PromptRow] = [*data.train, *data.held_out]
    if isinstance(recipe.data, DatasetOptions):
        form = local_form(rows, model.name, tokenizer, recipe.data.format, **options)
        rows = as_chats(rows) if form.is_chat else rows
    longest = sorted((row.prompt for row in rows), key=lambda prompt: len(str(prompt)), reverse=True)
    check_chats(longest, tokenizer, key="data", remedy=AS_TEXTS)
    return prompt_lengths(longest[:MEASURED], tokenizer)


def _is_here(recipe: Recipe) -> bool:
    """Whether problems are made on this machine or are read from its files."""
    if not isinstance(recipe.data, DatasetOptions):
        return True
    return all(Path(path).expanduser().exists() for path in (*recipe.data.path, *(recipe.data.held_out_path or ())))
