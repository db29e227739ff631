"""Adapters of a recipe: build their PEFT configuration and try them on a weightless model before work starts."""

from __future__ import annotations

import copy
import re
from typing import Any

import torch

from r2vpo.config.recipe import Recipe
from r2vpo.config.sections import LoraRecipe
from r2vpo.errors import UserError
from r2vpo.weights import first_line


def peft_config(recipe: Recipe) -> Any:
    """Return the PEFT configuration of the adapters, or None if all weights are trained."""
    lora = recipe.model.lora
    if lora is None:
        return None
    from peft import LoraConfig

    modules = lora.target_modules
    return LoraConfig(
        r=lora.r,
        lora_alpha=lora.alpha,  # type: ignore[arg-type]  # PEFT accepts fractions too, it only divides by r
        lora_dropout=lora.dropout,
        target_modules=modules[0] if modules == ["all-linear"] else list(modules),
        task_type="CAUSAL_LM",
    )


def check_adapters(recipe: Recipe, model: Any) -> None:
    """Refuse adapters that cannot be added to the model or would not be trained.

    Args:
        recipe: the recipe.
        model: the model that it names; it is not changed.

    Raises:
        UserError: a name matches no layer, PEFT has no adapter for the named layer, or it is the output layer.
    """
    config, lora = peft_config(recipe), recipe.model.lora
    if config is None or lora is None:
        return
    from peft import get_peft_model

    names = [name for name, _ in model.named_modules()]
    for target in lora.target_modules if config.target_modules != "all-linear" else ():
        if not any(name == target or name.endswith(f".{target}") for name in names):
            raise _refused(lora, model, f"{recipe.model.name} has no layer {target!r}")
    try:
        adapted = get_peft_model(_without_weights(model), config)
    except (ValueError, NotImplementedError) as error:
        # PEFT raises these for a layer type that it has no adapter for or cannot copy.
        kind = re.match(r"Target module (\w+)\(", str(error))
        why = f"on a {kind[1]}" if kind else f"there ({first_line(error)})"
        raise _refused(lora, model, f"PEFT puts no adapter {why}") from error
    output = adapted.get_base_model().get_output_embeddings()
    if hasattr(output, "get_base_layer"):
        raise _refused(
            lora,
            model,
            "log-probs are computed from the output layer's weights, so an adapter on it would not be trained",
        )


def _refused(lora: LoraRecipe, model: Any, why: str) -> UserError:
    from transformers.pytorch_utils import Conv1D

    output = model.get_output_embeddings()
    linear = [
        name
        for name, module in model.named_modules()
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module is not output
    ]
    known = ", ".join(sorted({name.rpartition(".")[2] for name in linear}))
    given = lora.target_modules
    also = "" if given == ["all-linear"] else ", or all-linear"
    return UserError(f"model.lora.target_modules: {why}; its linear layers are {known}: name some of them{also}")


def _without_weights(model: Any) -> Any:
    """Copy a model to the meta device: the same modules, without memory for weights."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): _meta(tensor) for tensor in tensors})


def _meta(tensor: torch.Tensor) -> torch.Tensor:
    empty = torch.empty_like(tensor, device="meta")
    is_parameter = isinstance(tensor, torch.nn.Parameter)
    return torch.nn.Parameter(empty, requires_grad=tensor.requires_grad) if is_parameter else empty
