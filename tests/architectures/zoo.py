"""A tiny random model of every causal language model of transformers.

The fields of a type's configuration that are sizes are set to small ones; `overrides.py` has what a type demands
beyond that, and variants of the options that decide about positions, windows, scales and noise. Weights are drawn
anew, norms and biases too, and the logits are spread: where they are nearly uniform no fault shows.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from transformers import CONFIG_MAPPING, AutoConfig, AutoModelForCausalLM
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.pytorch_utils import Conv1D

from tests.architectures.overrides import OVERRIDES, UNBUILDABLE
from tests.architectures.sizes import ATTENTION_WINDOW, SIZES, VOCABULARY, WINDOWS
from tests.architectures.variants import VARIANTS

MATRICES = (nn.Linear, nn.Conv1d, Conv1D)
EXPERTS = ("gate_up_proj", "down_proj", "up_proj", "gate_proj", "experts.w1", "experts.v1", "experts.w2")
GAIN = 1.3
"""Above 1, so that attention is far from uniform."""


@dataclass(frozen=True)
class Entry:
    """A model to build: its type in transformers, and what differs from that type's plain tiny configuration."""

    model_type: str
    variant: str = ""
    changes: dict[str, Any] = field(default_factory=dict, hash=False)

    @property
    def name(self) -> str:
        return f"{self.model_type}:{self.variant}" if self.variant else self.model_type


def entries() -> list[Entry]:
    """Every model of the zoo, in alphabetical order."""
    plain = [Entry(model_type) for model_type in set(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES) - set(UNBUILDABLE)]
    variants = [Entry(kind, name, changes) for kind, named in VARIANTS.items() for name, changes in named.items()]
    return sorted([*plain, *variants], key=lambda entry: (entry.model_type, entry.variant))


def config_of(entry: Entry, window: int = ATTENTION_WINDOW) -> Any:
    """The entry's configuration with every size small, those of its parts too.

    Args:
        entry: what to build.
        window: reach of its attention layers that have one, in tokens.
    """
    config_class = CONFIG_MAPPING[entry.model_type]
    # A configuration writes into the dictionaries that it is given.
    changes = copy.deepcopy(OVERRIDES.get(entry.model_type, {}) | entry.changes)
    return config_class(**_fields(config_class, changes, window))


def _fields(config_class: Any, changes: dict[str, Any], window: int) -> dict[str, Any]:
    names = set(config_class.__dataclass_fields__)
    sizes = {name: value for name, value in (SIZES | dict.fromkeys(WINDOWS, window)).items() if name in names}
    if "kv_lora_rank" in names:
        sizes["num_key_value_heads"] = sizes["num_attention_heads"]
    parts = {}
    for name, part_class in config_class.sub_configs.items():
        if part_class is AutoConfig:
            part_class = type(getattr(config_class(), name, None))
            if not hasattr(part_class, "model_type"):
                continue
        own = copy.deepcopy(OVERRIDES.get(part_class.model_type, {}) | changes.get(name, {}))
        parts[name] = part_class(**_fields(part_class, own, window))
    return sizes | _layers(config_class, names) | changes | parts


def _layers(config_class: Any, names: set[str]) -> dict[str, Any]:
    """One layer of each kind that the type's own default has, at least two."""
    if "layer_types" not in names:
        return {}
    default = config_class()
    kinds = list(dict.fromkeys(default.layer_types or ()))
    if not kinds:
        return {}
    if len(kinds) == 1:
        kinds = kinds * 2
    layers: dict[str, Any] = {"layer_types": kinds, "num_hidden_layers": len(kinds)}
    if "mlp_layer_types" in names and default.mlp_layer_types:
        mlp = list(dict.fromkeys(default.mlp_layer_types))
        layers["mlp_layer_types"] = (mlp * len(kinds))[-len(kinds) :]
    return layers


def build(entry: Entry, *, seed: int = 0, window: int = ATTENTION_WINDOW) -> Any:
    """The model in float32 and in training mode, as the trainer gets it, with weights that depend on the seed alone."""
    torch.manual_seed(seed)
    model = AutoModelForCausalLM.from_config(config_of(entry, window), dtype=torch.float32)
    _redraw(model, seed)
    _spread(model)
    return model.train()


def _redraw(model: Any, seed: int) -> None:
    """Draw matrices so that every layer passes on as much as it gets, and move everything else a little.

    Vectors and the parameters of recurrences keep their order of magnitude: a decay has to stay one.
    """
    generator = torch.Generator().manual_seed(seed)
    matrices = {id(module.weight) for module in model.modules() if isinstance(module, MATRICES)}
    embeddings = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            if id(parameter) in embeddings:
                parameter.copy_(noise * 2 * GAIN / parameter.shape[-1] ** 0.5)
            elif id(parameter) in matrices:
                parameter.copy_(noise * GAIN / parameter[0].numel() ** 0.5)
            elif name.endswith(EXPERTS):
                parameter.copy_(noise * GAIN / min(parameter.shape[-2:]) ** 0.5)
            else:
                parameter.add_(noise * 0.15)


def _spread(model: Any) -> None:
    """Scale the output layer until the logits have a standard deviation of 2, whatever scales them behind it."""
    head = model.get_output_embeddings()
    size = min(VOCABULARY, model.get_input_embeddings().weight.shape[0])
    ids = torch.randint(3, size, (1, 24), generator=torch.Generator().manual_seed(0))
    model.eval()
    with torch.no_grad():
        for _ in range(3):
            logits = model(input_ids=ids, use_cache=False).logits
            head.weight.mul_((2.0 / logits.std(-1).mean()).clamp(0.05, 50.0))
