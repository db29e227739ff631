"""The numbers of a model that determine memory and work, without its weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from r2vpo.config.recipe import Recipe
from r2vpo.errors import UserError
from r2vpo.hub import why_offline
from r2vpo.models.catalog import missing_model, resolve_model
from r2vpo.models.load import code_not_trusted, not_in_the_cache
from r2vpo.planning.known import KNOWN
from r2vpo.positions import position_limit
from r2vpo.training.adapters import peft_config
from r2vpo.weights import first_line


@dataclass(frozen=True)
class Architecture:
    """A decoder in numbers.

    Attributes:
        name: the recipe's `model.name`.
        source: where the configuration came from.
        note: what differs from the model itself, or None.
        layers: decoder layers.
        hidden: width H of the hidden states.
        intermediate: width I of the feed-forward layers.
        heads: query heads.
        key_value_heads: heads of keys and values.
        head_width: width of a head.
        vocabulary: number of tokens V.
        positions: length of the longest sequence that it supports.
        parameters: number of distinct weights, without adapters.
        trainable: number of trained weights: all, or those of the adapters.
        matrices: number of weights of the linear layers, without the output layer.
        layer: number of weights of the largest decoder layer.
        adapted_inputs: number of inputs of all adapted linear layers of one decoder layer, including adapter ranks.
    """

    name: str
    source: str
    note: str | None
    layers: int
    hidden: int
    intermediate: int
    heads: int
    key_value_heads: int
    head_width: int
    vocabulary: int
    positions: int
    parameters: int
    trainable: int
    matrices: int
    layer: int
    adapted_inputs: float

    @property
    def full_finetuning(self) -> bool:
        """Whether the weights themselves are trained."""
        return self.trainable == self.parameters


def read_architecture(recipe: Recipe) -> Architecture:
    """Find the configuration of a recipe's model, and count its weights on torch's meta device.

    A folder, a model of the catalogue or the hub's cache is tried first, then the configurations of the paper's models
    that come with the package, then the hub.

    Args:
        recipe: the recipe.

    Returns:
        The numbers.

    Raises:
        UserError: the model does not exist, its code may not run, or it is not a decoder of the usual layout.
    """
    name, trusted = recipe.model.name, recipe.model.trust_remote_code
    config, source, note = _find(name, seed=recipe.model_seed, trusted=trusted)
    model = _empty_model(config, name, trusted=trusted)
    text = config.get_text_config(decoder=True)
    missing = [key for key in _NEEDED if not isinstance(getattr(text, key, None), int)]
    if missing:
        raise UserError(
            f"model.name {name!r}: its configuration has no {missing[0]}, which a plan needs: plan a decoder of "
            "the usual layout, such as Llama or Qwen2"
        )
    head = model.get_output_embeddings()
    linear = [module for module in model.modules() if isinstance(module, nn.Linear) and module is not head]
    parameters, layer = _count(model), max(_count(layer) for layer in _layers(model, text.num_hidden_layers, name))
    matrices = sum(module.weight.numel() for module in linear)
    trainable, adapted = _adapters(recipe, model, text.num_hidden_layers)
    heads = text.num_attention_heads
    return Architecture(
        name=name,
        source=source,
        note=note,
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=text.intermediate_size,
        heads=heads,
        key_value_heads=getattr(text, "num_key_value_heads", None) or heads,
        head_width=getattr(text, "head_dim", None) or text.hidden_size // heads,
        vocabulary=head.weight.shape[0],
        positions=position_limit(model) or text.max_position_embeddings,
        parameters=parameters,
        trainable=parameters if trainable is None else trainable,
        matrices=matrices,
        layer=layer,
        adapted_inputs=adapted,
    )


def positions_of(name: str, *, seed: int = 0) -> int | None:
    """Return how many tokens a model takes, prompt and answer together, as `position_limit`; no weights are loaded.

    Args:
        name: the model's name.
        seed: seed of a model that is made from a seed.

    Raises:
        UserError: as for `read_architecture`.
    """
    config, _, _ = _find(name, seed=seed, trusted=False)
    return position_limit(_empty_model(config, name, trusted=False))


_NEEDED = (
    "num_hidden_layers",
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "max_position_embeddings",
)


def _find(name: str, *, seed: int, trusted: bool) -> tuple[Any, str, str | None]:
    """Find the configuration; return it with its source and a note."""
    from transformers import AutoConfig

    place = resolve_model(name, seed=seed)
    options = {"trust_remote_code": trusted}
    try:
        try:
            config = AutoConfig.from_pretrained(place, local_files_only=True, **options)
            return config, place if place != name else "the hub's cache", None
        except OSError:
            if name in KNOWN:
                known = KNOWN[name]
                return AutoConfig.for_model(**known.configuration()), "a configuration of this package", known.note
            offline = why_offline()
            if place == name and offline is not None:
                raise not_in_the_cache(name, offline) from None
            return AutoConfig.from_pretrained(place, **options), "the hub", None
    except OSError as error:
        raise missing_model(name, f"its configuration cannot be read ({first_line(error)})") from error
    except UserError:
        raise
    except (ValueError, KeyError) as error:
        if "trust_remote_code" in str(error):
            raise code_not_trusted(name, place) from error
        said = first_line(error)
        raise UserError(f"model.name {name!r}: {place} has no configuration that can be used ({said})") from error


def _empty_model(config: Any, name: str, *, trusted: bool) -> Any:
    from transformers import AutoModelForCausalLM

    try:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config, trust_remote_code=trusted)
    except ValueError as error:
        said = first_line(error)
        raise UserError(f"model.name {name!r}: it is not a causal language model ({said}): name one") from error


def _count(module: nn.Module) -> int:
    """Count distinct weights: tied ones count once."""
    return sum(parameter.numel() for parameter in module.parameters())


def _layers(model: Any, number: int, name: str) -> nn.ModuleList:
    for module in model.modules():
        if isinstance(module, nn.ModuleList) and len(module) == number:
            return module
    raise UserError(
        f"model.name {name!r}: it has no list of {number} decoder layers: plan a decoder of the usual layout"
    )


def _adapters(recipe: Recipe, model: Any, layers: int) -> tuple[int | None, float]:
    """Count adapter weights (None without adapters) and inputs of the adapted layers, per layer; changes the model."""
    config = peft_config(recipe)
    if config is None:
        return None, 0.0
    from peft import get_peft_model

    adapted = get_peft_model(model, config)
    trainable = sum(parameter.numel() for parameter in adapted.parameters() if parameter.requires_grad)
    down = [module for name, module in adapted.named_modules() if name.endswith(("lora_A.default", "lora_B.default"))]
    return trainable, sum(module.weight.shape[1] for module in down) / layers
