"""Whether a model can share its prompts, judged by its configuration and modules.

These rules cover what can be read from a model, and what depends on the length of a row. Whether the numbers are right
is measured by ``r2vpo.sampling.self_check``, which needs only short rows.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from r2vpo.core.log_probs.float32_head import is_plain_linear
from r2vpo.core.log_probs.shared_prefix import cache_argument

_LOGIT_OPTIONS = {
    "final_logit_softcapping": None,
    "logit_scale": 1.0,
    "logits_scaling": 1.0,
    "lm_head_multiplier": 1.0,
    "output_multiplier": 1.0,
}
"""Options that change the logits after the output layer, and the value that leaves them unchanged."""

_RECURRENT = ("layers_block_type", "block_types", "mamba_d_state", "ssm_cfg", "linear_num_key_heads", "rwkv")

_WINDOWED = {"sliding_attention": "sliding_window", "chunked_attention": "attention_chunk_size"}
"""Types of layers that are full attention up to the length of their window, and the option that holds this length."""

_PLACED_BY_MASK = frozenset(
    "full_attention sliding_attention chunked_attention indexed_attention linear_attention conv mlp moe hybrid "
    "hybrid_sliding".split()
)
"""Types of layers whose tokens get their positions from the mask, so that padding before them changes nothing."""

_SCALED_BY_INDEX = {
    "inkling_text": ("log_scaling_n_floor", "log_scaling_alpha"),
    "llama4_text": ("floor_scale", "attn_temperature_tuning"),
}
"""Model types that scale attention by a token's index from some length on: the options for the length and the
strength."""

_TEXTS = {"sliding_window": "sliding window", "attention_chunk_size": "chunk of attention"}


@dataclass(frozen=True)
class LengthLimit:
    """A length of prompt and response together beyond which a model computes differently.

    Attributes:
        tokens: the greatest length at which there is no difference.
        reason: what differs beyond it, as half a sentence that follows "it".
        any_forward: whether log-probabilities then depend on the other rows of a batch, or on how far a response has
            come, so that no forward pass agrees with a sampler; otherwise only sharing prompts is wrong.
        padding: whether padding before a row counts towards its length, so that only rows of equal length may be
            generated together.
    """

    tokens: int
    reason: str
    any_forward: bool = False
    padding: bool = False


def base_model(model: Any) -> Any:
    """Return the model inside a PEFT wrapper, or the model itself."""
    return model.get_base_model() if hasattr(model, "get_base_model") else model


def decoder_of(base: Any) -> Any:
    """Return the transformer of a causal language model, without its output layer.

    Raises:
        ValueError: the model has none.
    """
    for name in ("get_decoder", "model", "base_model"):
        found = getattr(base, name, None)
        if found is not None:
            return found() if name == "get_decoder" else found
    raise ValueError(f"{type(base).__name__} has no get_decoder(), model or base_model: pass a causal language model")


def learns_prompts(model: Any) -> bool:
    """Tell whether PEFT puts learned prompts before the tokens, outside the model that is called here."""
    return bool(getattr(getattr(model, "active_peft_config", None), "is_prompt_learning", False))


def supports_shared_prefix(model: Any, longest: int | None = None) -> str | None:
    """Tell whether prompts can be computed once per group with this model, from what can be read from it.

    Args:
        model: a causal language model, wrapped by PEFT or not.
        longest: most tokens of a prompt and its response together; None if it is not known, in which case every length
            limit counts as exceeded.

    Returns:
        None if so, otherwise the reason why not, as half a sentence that follows the model's name.
    """
    if learns_prompts(model):
        return "has a PEFT method that learns prompts, which are inserted outside the model that is called here"
    base = base_model(model)
    config = getattr(base, "config", None)
    if config is None:
        return "has no configuration to tell its architecture from"
    if getattr(config, "is_encoder_decoder", False):
        return "is an encoder-decoder, its responses are not a continuation of its prompts"
    text = _text_config(config)
    return _layer_reason(text) or _length_reason(text, longest) or _logit_reason(text) or _module_reason(base)


def reads_output_layer(model: Any) -> str | None:
    """Tell whether the logits are those of the output layer's weights, from what can be read from the model.

    Args:
        model: a causal language model, wrapped by PEFT or not.

    Returns:
        None if so, otherwise the reason why not, as half a sentence that follows the model's name.
    """
    base = base_model(model)
    return _logit_reason(_text_config(base.config)) or _head_reason(base)


def length_limits(config: Any) -> list[LengthLimit]:
    """List the lengths beyond which the model computes differently, according to its configuration.

    Args:
        config: the configuration of a causal language model.
    """
    return list(_limits(_text_config(config)))


def keeps_states(config: Any) -> bool:
    """Tell whether layers keep anything but the keys and values of a row's tokens, such as a recurrent state.

    Args:
        config: the configuration of a causal language model.
    """
    return _layer_reason(_text_config(config)) is not None


def shifts_under_padding(config: Any, longest: int | None = None) -> str | None:
    """Explain why left padding of a long row may change what the model computes, though it does not for a short row.

    Args:
        config: the configuration of a causal language model.
        longest: most tokens of a prompt and its response together; None if it is not known.

    Returns:
        Half a sentence that follows "it", or None.
    """
    other = ", ".join(sorted(set(getattr(_text_config(config), "layer_types", None) or ()) - _PLACED_BY_MASK))
    if other:
        return f"has layers of type {other}, which divide a row into blocks that padding shifts"
    for limit in length_limits(config):
        if limit.padding and (longest is None or longest > limit.tokens):
            return limit.reason
    return None


def _text_config(config: Any) -> Any:
    return config.get_text_config(decoder=True) if hasattr(config, "get_text_config") else config


def _limits(config: Any) -> Iterator[LengthLimit]:
    layer_types = set(getattr(config, "layer_types", None) or ())
    for layer_type, name in _WINDOWED.items():
        window = getattr(config, name, None)
        here = layer_type in layer_types or (name == "sliding_window" and not layer_types)
        if here and window is not None and getattr(config, "use_sliding_window", True):
            text = f"has a {_TEXTS[name]} of {window} tokens, whose cache drops the start of a prompt"
            yield LengthLimit(int(window), text)
    if "local" in (getattr(config, "attention_layers", None) or ()):
        window = int(config.window_size)
        yield LengthLimit(window, f"has layers of local attention over {window} tokens")
    kept = getattr(config, "keep_window_size", None)
    if kept:
        # Equal tokens have equal strengths in the first layer, and which of the equal ones are chosen depends on how
        # many there are.
        text = f"keeps the {kept} strongest keys of a row, and which of equal ones depends on the row's length"
        yield LengthLimit(int(kept), text, any_forward=True)
    scaled = _SCALED_BY_INDEX.get(getattr(config, "model_type", ""))
    if scaled is not None:
        start, strength = (getattr(config, name, None) for name in scaled)
        if start and strength:
            text = f"scales attention by a token's place in its row, padding included, from {start} tokens on"
            yield LengthLimit(int(start) - 1, text, padding=True)
    for rope in _rope_parameters(config):
        kind = rope.get("rope_type", rope.get("type"))
        if kind == "longrope":
            original = _first_length(rope, config, "original_max_position_embeddings", "max_position_embeddings")
            text = f"has longrope positions, all of which change when a row passes {original} tokens"
            yield LengthLimit(original, text, any_forward=True)
        elif kind == "dynamic":
            original = _first_length(rope, config, "max_position_embeddings", "original_max_position_embeddings")
            text = f"has dynamic rope, whose positions change with the longest row beyond {original} tokens"
            yield LengthLimit(original, text, any_forward=True)


def _first_length(rope: dict[str, Any], config: Any, *names: str) -> int:
    """Return the first of these options that is set, the rope's own before the model's; 0 if none is."""
    for name in names:
        for value in (rope.get(name), getattr(config, name, None)):
            if value:
                return int(value)
    return 0


def _rope_parameters(config: Any) -> list[dict[str, Any]]:
    """Return the rope parameters of the model, or of each type of its layers."""
    found = getattr(config, "rope_parameters", None) or getattr(config, "rope_scaling", None) or {}
    nested = [value for value in found.values() if isinstance(value, dict)]
    return nested or [found]


def _layer_reason(config: Any) -> str | None:
    layer_types = set(getattr(config, "layer_types", None) or ())
    windows = {layer_type for layer_type, name in _WINDOWED.items() if getattr(config, name, None) is not None}
    other = ", ".join(sorted(layer_types - {"full_attention"} - windows))
    if other:
        return f"has layers of type {other}, whose cache cannot be expanded"
    for name in _RECURRENT:
        if getattr(config, name, None):
            return f"has recurrent layers ({name} is set), whose state cannot be expanded as keys and values can"
    return None


def _length_reason(config: Any, longest: int | None) -> str | None:
    for limit in _limits(config):
        if longest is None:
            return f"{limit.reason}, and the length of prompt and response is not known"
        if longest > limit.tokens:
            return f"{limit.reason}, and prompt and response have up to {longest}"
    return None


def _logit_reason(config: Any) -> str | None:
    for name, neutral in _LOGIT_OPTIONS.items():
        value = getattr(config, name, None)
        if value is not None and value != neutral:
            return f"changes its logits after the output layer ({name}={value})"
    return None


def _module_reason(base: Any) -> str | None:
    if base.training and any(getattr(module, "gradient_checkpointing", False) for module in base.modules()):
        return "has gradient checkpointing on, which turns the cache off in training: turn it off"
    decoder = decoder_of(base)
    if "position_ids" not in inspect.signature(type(decoder).forward).parameters:
        return "takes no position_ids, so it cannot be given the position of a token after a padded prompt"
    if cache_argument(decoder) is None:
        return "takes no past_key_values, so it has no cache through which a prompt could be shared"
    return _head_reason(base)


def _head_reason(base: Any) -> str | None:
    head = base.get_output_embeddings() if hasattr(base, "get_output_embeddings") else None
    if head is None or not is_plain_linear(head) or not head.weight.is_floating_point():
        return f"has an output layer of type {type(head).__name__}, not a plain linear layer"
    if not any(child is head for child in base.children()):
        return "has its output layer inside another module, which may transform what comes before it"
    return None
