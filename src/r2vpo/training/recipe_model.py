"""Check whether a recipe's model can be trained as the recipe says."""

from __future__ import annotations

from typing import Any

import torch

from r2vpo.config.recipe import Recipe
from r2vpo.core.log_probs import length_limits
from r2vpo.data import PromptData
from r2vpo.data.options import DatasetOptions
from r2vpo.data.prompt_tokens import longest_prompt, prompt_lengths
from r2vpo.errors import UserError
from r2vpo.models.fit import Room, check_tokenizer
from r2vpo.positions import position_limit
from r2vpo.sampling import check_model
from r2vpo.sampling.self_check import GENERATE, SAMPLERS

_LARGE = 1e9
"""Number of parameters above which a check on a CPU takes seconds."""


def check_recipe_model(recipe: Recipe, model: Any, tokenizer: Any, data: PromptData) -> None:
    """Refuse a model that cannot be trained as the recipe says.

    Args:
        recipe: the recipe.
        model: the model that it names.
        tokenizer: the model's.
        data: the problems.

    Raises:
        UserError: the tokenizer or the prompts do not fit it, or its log-probs cannot be computed.
    """
    _check_fit(recipe, model, tokenizer, data)
    _check_router(recipe, model)
    _check_log_probs(recipe, model, tokenizer, data)


def _check_router(recipe: Recipe, model: Any) -> None:
    coefficient = recipe.trainer.router_aux_loss_coef
    if coefficient and not hasattr(model.config.get_text_config(), "output_router_logits"):
        raise UserError(
            f"trainer.router_aux_loss_coef = {coefficient:g}, but {type(model).__name__} is not a mixture of experts "
            "that returns its router's logits: leave it out"
        )


def _check_fit(recipe: Recipe, model: Any, tokenizer: Any, data: PromptData) -> None:
    """Refuse a tokenizer with other tokens, answers without an end token, and prompts too long for the model."""
    ends = model.generation_config.eos_token_id
    what = f"model.name {recipe.model.name!r}"
    check_tokenizer(model, tokenizer, ends, what=what, stop="name a text that ends an answer in rollout.stop")
    limit, trained = position_limit(model), recipe.rollout.max_new_tokens
    if limit is None:
        return
    remedy = "show fewer examples (data.few_shot), or write shorter prompts"
    if isinstance(recipe.data, DatasetOptions):
        remedy = "set data.max_prompt_tokens to at most {most}, which leaves longer prompts out"
    evaluated = recipe.evaluation.max_new_tokens
    setting = "rollout.max_new_tokens" if evaluated is None else "evaluation.max_new_tokens"
    # Given pairs that the model cannot read have been left out.
    answered = [] if recipe.is_offline else data.train
    for room, rows, where in (
        (Room(limit, trained, "rollout.max_new_tokens", remedy), answered, "training prompt"),
        (Room(limit, evaluated or trained, setting, remedy), data.held_out, "held-out prompt"),
    ):
        prompts = [row.prompt for row in rows]
        room.check(prompt_lengths(prompts, tokenizer), prompts, where)


def _check_log_probs(recipe: Recipe, model: Any, tokenizer: Any, data: PromptData) -> None:
    """Refuse a model whose log-probs cannot be computed, before a run folder exists; the trainer reports the rest."""
    large = sum(parameter.numel() for parameter in model.parameters()) > _LARGE
    if large and recipe.trainer.device != "cpu" and torch.cuda.is_available():
        # The trainer checks it on the device, where it is quick.
        return
    longest = None
    if length_limits(model.config):
        longest = longest_prompt(data, tokenizer) + recipe.rollout.max_new_tokens
    samplers = {"shared_prefix": SAMPLERS, "trl": (GENERATE,), "vllm": ()}[recipe.rollout.sampler]
    # The same check as the trainer's, which then reuses the result unless it changes the model.
    check = check_model(
        model,
        pad_token_id=tokenizer.pad_token_id,
        longest=longest,
        shared=not recipe.trainer.gradient_checkpointing,
        samplers=samplers,
        keep=True,
    )
    if check.refusal is not None:
        raise UserError(f"model.name {recipe.model.name!r}: {check.refusal}")
